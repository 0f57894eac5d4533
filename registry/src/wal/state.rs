//! What the log says besides its entries, and how each record changes it. Pure: the writer, the recovery and the
//! log in memory all follow these rules, so they agree.

use super::{LogId, Vote};

/// Vote, committed and purged ids, and which entries there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Index of the first entry; means something only when `last` is set.
    pub(super) first_index: u64,
    /// The last entry; `None`: there are no entries.
    pub(super) last: Option<LogId>,
}

/// An entry that does not continue the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {found} does not continue the log: index {expected} comes next")]
pub(super) struct Gap {
    pub(super) expected: u64,
    pub(super) found: u64,
}

impl State {
    /// Adds an entry: the next index, or any when the log never had one.
    pub(super) fn append(&mut self, id: LogId) -> Result<(), Gap> {
        match self.last_log_id() {
            Some(before) if before.index + 1 != id.index => {
                return Err(Gap { expected: before.index + 1, found: id.index });
            }
            _ if self.last.is_none() => self.first_index = id.index,
            _ => {}
        }
        self.last = Some(id);
        Ok(())
    }

    /// Drops the entries after `id`, or all.
    pub(super) fn truncate_after(&mut self, id: Option<LogId>) {
        match (id, self.last) {
            (Some(id), Some(last)) if id.index >= last.index => {}
            (Some(id), Some(_)) if id.index >= self.first_index => self.last = Some(id),
            _ => self.last = None,
        }
    }

    /// Drops the entries up to `id`, inclusive. An id below what is purged already changes nothing.
    pub(super) fn purge(&mut self, id: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= id.index) {
            return;
        }
        self.purged = Some(id);
        self.last = self.last.filter(|last| last.index > id.index);
        self.first_index = self.first_index.max(id.index + 1);
    }

    /// The last entry, or what is purged when there is none.
    pub(super) fn last_log_id(&self) -> Option<LogId> {
        self.last.or(self.purged)
    }
}
