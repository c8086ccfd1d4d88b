//! What a run looks like: how requests arrive, events in each, subscriptions that take them. Data only.

use clap::ValueEnum;

/// A shape by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One event a request, 16 connections.
    Single,
    /// A hundred events a request, 16 connections.
    Batch,
    /// One event a request, 16 connections, five subscriptions.
    Fanout,
    /// A thousand requests a second, whatever the answers do.
    Open,
}

impl Name {
    /// In the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::Single, Self::Batch, Self::Fanout, Self::Open];
}

/// How requests arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Each connection sends its next request when the last is answered.
    Closed {
        /// Kept-alive connections.
        connections: usize,
    },
    /// Requests are due at fixed times; latency counts from then, so that a stall is paid by all it delays.
    Open {
        /// Requests due a second.
        per_second: u32,
        /// Connections that carry them; a request waits when all are taken, and the wait counts.
        connections: usize,
    },
}

/// What is measured together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Its name on the command line.
    pub(crate) name: Name,
    /// Its name in the report.
    pub(crate) title: &'static str,
    /// How requests arrive.
    pub(crate) load: Load,
    /// Events in a request.
    pub(crate) batch: usize,
    /// Subscriptions that take every event, at most [`crate::ledger::MAX_FAN_OUT`].
    pub(crate) fan_out: usize,
    /// A run ends early when it has sent so many.
    pub(crate) most_events: usize,
}

/// Batches are accepted ten times as fast as they are delivered; so many are delivered within about a minute.
const MOST_BATCHED: usize = 300_000;

impl Shape {
    /// The shape of that name.
    pub(crate) fn of(name: Name) -> Self {
        let closed = Load::Closed { connections: 16 };
        let title = "one event a request";
        let one = Self { name, title, load: closed, batch: 1, fan_out: 1, most_events: usize::MAX };
        match name {
            Name::Single => one,
            Name::Batch => Self { title: "batches of 100", batch: 100, most_events: MOST_BATCHED, ..one },
            Name::Fanout => Self { title: "fan-out 5", fan_out: 5, ..one },
            Name::Open => Self {
                title: "open loop, 1,000/s",
                load: Load::Open { per_second: 1000, connections: 256 },
                ..one
            },
        }
    }

    /// What the reference does meanwhile: a proxy passes requests on one by one, which is what a delivery costs
    /// at least, so batches and fan-out are held against single requests.
    pub(crate) fn reference(self) -> Self {
        Self { batch: 1, fan_out: 1, most_events: usize::MAX, ..self }
    }
}
