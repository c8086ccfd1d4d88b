//! One run: a short warm-up, the load, and the wait until everything accepted is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::Figures;
use crate::ledger::Ledger;
use crate::load;
use crate::receiver::Receiver;
use crate::shape::Shape;
use crate::systems::Target;

/// Load before the clock starts: connections open, memory is touched, code is paged in.
const WARM_UP: Duration = Duration::from_secs(1);

/// A run ends when nothing more was delivered for this long; what is missing then is lost.
const STALL: Duration = Duration::from_secs(20);

/// Between two looks at what has been delivered.
const LOOK: Duration = Duration::from_millis(20);

/// Events a second that the books have room for.
const MOST_PER_SECOND: usize = 200_000;

/// Runs load of that shape against a target and returns what was seen.
pub(crate) async fn measure(
    target: &Target,
    receiver: &Receiver,
    shape: &Shape,
    span: Duration,
) -> Result<Figures> {
    let warm_up = drive(target, receiver, shape, WARM_UP).await?;
    let before = target.usage()?;
    let ledger = drive(target, receiver, shape, span).await?;
    let mut figures = Figures::of(&ledger, target.usage()?.since(before));
    figures.lost += warm_up.missing();
    Ok(figures)
}

async fn drive(target: &Target, receiver: &Receiver, shape: &Shape, span: Duration) -> Result<Arc<Ledger>> {
    let capacity = (span.as_secs() as usize * MOST_PER_SECOND).min(shape.most_events);
    let ledger = Arc::new(Ledger::new(capacity, shape.fan_out, target.signed)?);
    receiver.book_into(&ledger);
    load::generate(target, *shape, span, &ledger).await?;

    let expected = ledger.accepted() * shape.fan_out as u64;
    let (mut seen, mut since) = (ledger.delivered(), Instant::now());
    while (seen < expected || ledger.missing() > 0) && since.elapsed() < STALL {
        tokio::time::sleep(LOOK).await;
        if ledger.delivered() != seen {
            (seen, since) = (ledger.delivered(), Instant::now());
        }
    }
    Ok(ledger)
}
