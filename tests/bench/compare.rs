//! Reference and chathooks in turns, and the rule that throws away a pair whose reference strayed.

use std::time::Duration;

use crate::figures::{Figures, median, ratio};
use crate::receiver::Receiver;
use crate::shape::Shape;
use crate::systems::Bench;
use crate::{Options, Result, run};

/// Share by which a reference may differ from the median of its session.
const DRIFT: f64 = 0.10;

/// Pairs that may be run again for one shape; after that the drift is reported.
const MAX_REPEATS: u64 = 3;

/// Everything seen of one shape.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// What was measured.
    pub(crate) shape: Shape,
    /// Reference and chathooks, which is absent when only the rig was measured.
    pub(crate) pairs: Vec<(Figures, Option<Figures>)>,
    /// Pairs thrown away because the reference strayed.
    pub(crate) discarded: u64,
    /// Whether the kept references still differ by more than 10 % from their median.
    pub(crate) drifted: bool,
}

impl Comparison {
    /// Median and sums of the reference.
    pub(crate) fn reference(&self) -> Figures {
        Figures::summary(&self.pairs.iter().map(|(reference, _)| *reference).collect::<Vec<_>>())
    }

    /// Median and sums of chathooks.
    pub(crate) fn product(&self) -> Option<Figures> {
        let runs: Vec<Figures> = self.pairs.iter().filter_map(|(_, product)| *product).collect();
        (!runs.is_empty()).then(|| Figures::summary(&runs))
    }

    /// Deliveries a second against the reference of the same pair, the median of the pairs.
    pub(crate) fn ratio(&self) -> f64 {
        let of_pair = |(reference, product): &(Figures, Option<Figures>)| {
            product.map(|product| ratio(product.delivered_per_second, reference.delivered_per_second))
        };
        median(self.pairs.iter().filter_map(of_pair))
    }

    /// The pair whose reference is furthest from the median, if that is too far.
    fn strayed(&self) -> Option<usize> {
        let middle = self.reference().delivered_per_second;
        let distance = |index: &usize| (ratio(self.pairs[*index].0.delivered_per_second, middle) - 1.0).abs();
        let furthest = (0..self.pairs.len()).max_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        (distance(&furthest) > DRIFT).then_some(furthest)
    }
}

/// Measures one shape.
pub(crate) async fn compare(
    bench: &Bench,
    receiver: &Receiver,
    shape: Shape,
    load: Duration,
    options: &Options,
) -> Result<Comparison> {
    let mut comparison = Comparison { shape, pairs: Vec::new(), discarded: 0, drifted: false };
    loop {
        while (comparison.pairs.len() as u64) < options.runs {
            eprintln!("{}, run {} of {}", shape.title, comparison.pairs.len() + 1, options.runs);
            comparison.pairs.push(pair(bench, receiver, shape, load, options.reference_only).await?);
        }
        match comparison.strayed() {
            Some(index) if comparison.discarded < MAX_REPEATS => {
                eprintln!("  the reference of run {} strayed by more than 10 %: again", index + 1);
                comparison.pairs.remove(index);
                comparison.discarded += 1;
            }
            strayed => {
                comparison.drifted = strayed.is_some();
                return Ok(comparison);
            }
        }
    }
}

async fn pair(
    bench: &Bench,
    receiver: &Receiver,
    shape: Shape,
    load: Duration,
    reference_only: bool,
) -> Result<(Figures, Option<Figures>)> {
    let nginx = bench.start_nginx().await?;
    let reference = run::measure(nginx.target(), receiver, &shape.reference(), load).await?;
    nginx.stop().await?;
    eprintln!("  nginx      {reference}");
    if reference_only {
        return Ok((reference, None));
    }
    let chathooks = bench.start_chathooks(shape.fan_out).await?;
    let product = run::measure(chathooks.target(), receiver, &shape, load).await?;
    chathooks.stop().await?;
    bench.drop_data()?;
    eprintln!("  chathooks  {product}");
    Ok((reference, Some(product)))
}
