//! What is on disk comes back into memory: series, their heads, and the samples of the log.

use super::Memory;
use crate::{
    head::{Head, Order},
    postings::Id,
    schema::{self, GROUP_SIZE, Logged},
    varint::Malformed,
};

impl Memory {
    /// A series row, at recovery.
    pub(crate) fn known(&mut self, id: u64, row: &[u8]) -> Result<(), Malformed> {
        let id = Id::try_from(id).map_err(|_| "a series id is too large")?;
        let mut pairs = Vec::new();
        schema::read_series(row, &mut pairs)?;
        let hash = self.index.hash(pairs.iter().copied());
        self.index.insert(id, hash, pairs.into_iter());
        Ok(())
    }

    /// A head row, at recovery; heads of series that are gone are passed over.
    pub(crate) fn recover(&mut self, group: u64, row: &[u8]) -> Result<(), Malformed> {
        let group = u32::try_from(group).map_err(|_| "a group is too large")?;
        let (first_row, mut heads) = schema::read_heads(row)?;
        while !heads.0.is_empty() {
            let place = u32::from(heads.byte()?);
            let head = Head::read(&mut heads)?;
            self.newest_ms = self.newest_ms.max(head.last_ms().unwrap_or(i64::MIN));
            if let Some(known) = self.index.head(group.wrapping_mul(GROUP_SIZE).wrapping_add(place))
            {
                *known = head;
            }
        }
        self.groups.insert(group, first_row);
        self.next_row = self.next_row.max(first_row);
        Ok(())
    }

    /// A sample of log row `row`, at recovery: what the heads have already, and series that are gone, are passed
    /// over.
    pub(crate) fn replay(&mut self, row: u64, id: Id, sample: Logged) {
        self.next_row = self.next_row.max(row + 1);
        let Some(head) = self.index.head(id) else { return };
        if *self.groups.entry(id / GROUP_SIZE).or_insert(row) > row {
            return;
        }
        let timestamp_ms = match &sample {
            Logged::Float(sample) => sample.timestamp_ms,
            Logged::Histogram(sample) => sample.timestamp_ms,
        };
        let sealed = match (head.order(timestamp_ms), sample) {
            (Order::Next, Logged::Float(sample)) => head.push(sample),
            (Order::Next, Logged::Histogram(sample)) => head.push_histogram(sample),
            (Order::Past, Logged::Float(sample)) => {
                head.push_late(sample) && !head.unsaved().1.is_empty()
            }
            (Order::Duplicate, _) | (Order::Past, Logged::Histogram(_)) => false,
        };
        if sealed {
            self.dirty.push(id);
        }
        self.newest_ms = self.newest_ms.max(timestamp_ms);
    }
}
