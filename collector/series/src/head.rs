//! What memory holds of one series: its open chunk, and sealed chunks until they are on disk.

use std::{mem, sync::Arc};

use crate::{Sample, chunk};

/// A full chunk that is not known to be on disk yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The oldest log row that has a sample of it.
    pub(crate) first_row: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What a sample is to its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Later than all before.
    Next,
    /// As late as the last one.
    Duplicate,
    /// Earlier.
    Past,
}

/// Timestamps only ever rise: on disk, then in `sealed`, then in `open`.
#[derive(Debug)]
pub(crate) struct Head {
    open: Vec<Sample>,
    sealed: Vec<Arc<Sealed>>,
    /// The log row that has (or will have) the first sample of `open`.
    first_row: u64,
    last_ms: Option<i64>,
    /// No chunk on disk ends before this: where expiry need not look.
    oldest_end_ms: i64,
}

impl Default for Head {
    /// A series that was never seen.
    fn default() -> Self {
        Self {
            open: Vec::new(),
            sealed: Vec::new(),
            first_row: 0,
            last_ms: None,
            oldest_end_ms: i64::MAX,
        }
    }
}

impl Head {
    /// A series with chunks on disk, the last of which ends at `end_ms`.
    pub(crate) fn recovered(end_ms: Option<i64>) -> Self {
        let oldest_end_ms = if end_ms.is_some() { i64::MIN } else { i64::MAX };
        Self { last_ms: end_ms, oldest_end_ms, ..Self::default() }
    }

    pub(crate) fn order(&self, timestamp_ms: i64) -> Order {
        match self.last_ms {
            Some(last) if timestamp_ms == last => Order::Duplicate,
            Some(last) if timestamp_ms < last => Order::Past,
            _ => Order::Next,
        }
    }

    /// Takes a sample that is [`Order::Next`] and stands in log row `row`; true when that sealed a chunk.
    pub(crate) fn push(&mut self, sample: Sample, row: u64) -> bool {
        if self.open.is_empty() {
            self.first_row = row;
        }
        self.open.push(sample);
        self.last_ms = Some(sample.timestamp_ms);
        self.open.len() >= chunk::SAMPLES_MAX && self.seal()
    }

    /// Closes the open chunk; false when it is empty.
    pub(crate) fn seal(&mut self) -> bool {
        let (Some(first), Some(last)) = (self.open.first(), self.open.last()) else { return false };
        self.sealed.push(Arc::new(Sealed {
            start_ms: first.timestamp_ms,
            end_ms: last.timestamp_ms,
            first_row: self.first_row,
            bytes: chunk::encode(&self.open),
        }));
        // A series that has filled a chunk will fill the next: keep its room. Others give it back.
        let full = self.open.len() >= chunk::SAMPLES_MAX;
        mem::take(&mut self.open);
        if full {
            self.open.reserve_exact(chunk::SAMPLES_MAX);
        }
        true
    }

    /// Whether the open chunk began before `cutoff_ms` or pins a log row before `cutoff_row`.
    pub(crate) fn is_due(&self, cutoff_ms: i64, cutoff_row: u64) -> bool {
        let first = self.open.first();
        first.is_some_and(|s| s.timestamp_ms < cutoff_ms || self.first_row < cutoff_row)
    }

    /// Chunks up to `end_ms` are on disk.
    pub(crate) fn saved(&mut self, end_ms: i64) {
        self.sealed.retain(|chunk| chunk.end_ms > end_ms);
        self.oldest_end_ms = self.oldest_end_ms.min(end_ms);
    }

    /// Whether the disk may hold chunks that end before `cutoff_ms`.
    pub(crate) fn may_expire(&self, cutoff_ms: i64) -> bool {
        self.oldest_end_ms < cutoff_ms
    }

    /// The oldest chunk on disk ends at `oldest_end_ms`; none: there is no chunk.
    pub(crate) fn expired(&mut self, oldest_end_ms: Option<i64>) {
        self.oldest_end_ms = oldest_end_ms.unwrap_or(i64::MAX);
    }

    /// Whether nothing of it is in memory and nothing on disk is as late as `cutoff_ms`.
    pub(crate) fn is_dead(&self, cutoff_ms: i64) -> bool {
        let past = self.last_ms.is_none_or(|last| last < cutoff_ms);
        past && self.open.is_empty() && self.sealed.is_empty()
    }

    /// The oldest log row it needs after a crash.
    pub(crate) fn first_row(&self) -> Option<u64> {
        let open = (!self.open.is_empty()).then_some(self.first_row);
        self.sealed.first().map(|chunk| chunk.first_row).or(open)
    }

    pub(crate) fn sealed(&self) -> &[Arc<Sealed>] {
        &self.sealed
    }

    pub(crate) fn open(&self) -> &[Sample] {
        &self.open
    }

    /// Timestamp of the first sample in memory: what the disk holds from here on is held here as well.
    pub(crate) fn start_ms(&self) -> Option<i64> {
        let open = self.open.first().map(|s| s.timestamp_ms);
        self.sealed.first().map(|chunk| chunk.start_ms).or(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_seals_and_is_saved() {
        let mut head = Head::default();
        let sample = |n: i64| Sample { timestamp_ms: n, value: 0.5 };
        let max = chunk::SAMPLES_MAX as i64;
        for n in 1..max {
            assert!(!head.push(sample(n), 3));
        }
        assert_eq!((head.order(max - 2), head.order(max - 1)), (Order::Past, Order::Duplicate));
        assert_eq!(head.order(max), Order::Next);
        assert!(head.push(sample(max), 4));
        assert_eq!((head.start_ms(), head.first_row(), head.open().len()), (Some(1), Some(3), 0));
        head.push(sample(max + 1), 5);
        head.saved(max);
        assert_eq!((head.start_ms(), head.first_row()), (Some(max + 1), Some(5)));
        assert!(head.may_expire(max + 1) && !head.may_expire(max));
        assert!(head.is_due(max + 2, 0) && head.is_due(0, 6) && !head.is_due(max + 1, 5));
        assert!(head.seal() && !head.seal());
        assert!(!head.is_dead(i64::MAX));
        head.saved(max + 1);
        assert!(head.is_dead(max + 2) && !head.is_dead(max + 1));
    }
}
