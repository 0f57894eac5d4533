//! What clients did and what they were told: the only thing that the checks judge.

use std::{collections::BTreeMap, time::Duration};

/// A key as an answer showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kv {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) create: i64,
    pub(crate) modified: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

/// A part of an operation. Values are written once in a history, so a value tells who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Put {
        key: String,
        value: String,
        lease: i64,
    },
    Delete {
        key: String,
    },
    Read {
        key: String,
    },
    /// Every key with this prefix.
    Scan {
        prefix: String,
    },
}

impl Step {
    /// What it writes: the key, and the value unless it deletes.
    pub(crate) fn write(&self) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Put { key, value, .. } => Some((key, Some(value))),
            Self::Delete { key } => Some((key, None)),
            Self::Read { .. } | Self::Scan { .. } => None,
        }
    }
}

/// How it was sent: of anything but a transaction `then` has one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// The step's own RPC, reads linearizable.
    Plain,
    /// A read of one member's own state.
    Serializable,
    Txn,
}

/// An operation: if each key of `when` has that value (none: is not there), `then`, else `otherwise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) call: Call,
    pub(crate) when: Vec<(String, Option<String>)>,
    pub(crate) then: Vec<Step>,
    pub(crate) otherwise: Vec<Step>,
}

impl Action {
    /// One step by its own RPC.
    pub(crate) fn plain(step: Step) -> Self {
        Self { call: Call::Plain, when: Vec::new(), then: vec![step], otherwise: Vec::new() }
    }

    /// The steps of the branch that was taken.
    pub(crate) fn branch(&self, held: bool) -> &[Step] {
        if held { &self.then } else { &self.otherwise }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Of its header.
    pub(crate) revision: i64,
    /// Whether `when` held.
    pub(crate) held: bool,
    /// For each step of the branch: what a read found, or what was there before a write.
    pub(crate) found: Vec<Vec<Kv>>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Answered(Outcome),
    /// An error that says that nothing was done.
    Refused,
    /// Any other error, or none within the client's patience: done, not done, or done later.
    Unknown,
}

/// An operation of one client. Times count from the beginning of the run.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) member: usize,
    /// Of the member, before and after.
    pub(crate) lives: (u64, u64),
    pub(crate) action: Action,
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
    pub(crate) ending: Ending,
}

impl Record {
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match &self.ending {
            Ending::Answered(outcome) => Some(outcome),
            Ending::Refused | Ending::Unknown => None,
        }
    }
}

/// A change of a key, as watchers see it; of a deletion `kv` has only key and mod revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) deleted: bool,
    pub(crate) kv: Kv,
    pub(crate) prev: Option<Kv>,
}

/// One response of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) at: Duration,
    /// Of its header.
    pub(crate) revision: i64,
    /// None: a notification of progress.
    pub(crate) events: Vec<Event>,
}

impl Batch {
    /// Up to which revision the watcher has now been shown everything: its last event's, since revisions are not
    /// split, or the one that a notification of progress names. (The header beside events may be ahead.)
    pub(crate) fn through(&self) -> i64 {
        self.events.last().map_or(self.revision, |event| event.kv.modified)
    }
}

/// One watch from its creation to its end.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    /// `member 2, prefix r/`: for messages.
    pub(crate) name: String,
    pub(crate) prefix: String,
    /// The first revision asked for.
    pub(crate) from: i64,
    pub(crate) prev_kv: bool,
    pub(crate) no_delete: bool,
    pub(crate) batches: Vec<Batch>,
}

/// The life of a lease as its owner knows it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) id: i64,
    pub(crate) ttl: Duration,
    pub(crate) keys: Vec<String>,
    /// When the grant and each renewal that was confirmed were asked for: from then on the whole TTL was promised.
    pub(crate) promised: Vec<Duration>,
    /// When the last renewal, confirmed or not, had ended: nothing extends it later.
    pub(crate) last_asked: Duration,
    /// When its owner asked for its end; none: it is left to run out.
    pub(crate) revoked: Option<Duration>,
    /// When its owner was told that there is no such lease.
    pub(crate) gone: Option<Duration>,
}

/// Everything of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) leases: Vec<Lease>,
    /// Each member's own account of every change, told when all was over.
    pub(crate) accounts: BTreeMap<usize, Vec<Event>>,
    /// When the last fault was over and every member answered again.
    pub(crate) calm: Duration,
}
