//! Writes into transactions that every etcd takes: at most 128 operations, and well below 1.5 MiB.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Keys of a transaction; its marker is one operation more.
pub(super) const KEYS_MAX: usize = 127;
/// Bytes of keys and values in a transaction of more than one key; each key stands in a condition too.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// What happens to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    /// It has this value under this lease (0: none).
    Put(Bytes, i64),
    /// It is gone.
    Delete,
}

/// A transaction's writes by key.
pub(super) type Batch = BTreeMap<Bytes, Write>;

fn bytes(key: &Bytes, write: &Write) -> usize {
    let value = if let Write::Put(value, _) = write { value.len() } else { 0 };
    2 * key.len() + value
}

/// Makes batches. What came in one revision stays in one, if it fits; of several writes to a key in a batch the last
/// one counts.
#[derive(Debug, Default)]
pub(super) struct Batches {
    done: Vec<Batch>,
    open: Batch,
    open_bytes: usize,
}

impl Batches {
    /// Adds what happened in one revision.
    pub(super) fn push(&mut self, writes: Vec<(Bytes, Write)>) {
        let size: usize = writes.iter().map(|(key, write)| bytes(key, write)).sum();
        let fits =
            self.open.len() + writes.len() <= KEYS_MAX && self.open_bytes + size <= BYTES_MAX;
        if !fits {
            self.close();
        }
        for (key, write) in writes {
            let size = bytes(&key, &write);
            if self.open.len() >= KEYS_MAX
                || (self.open_bytes + size > BYTES_MAX && !self.open.is_empty())
            {
                self.close();
            }
            self.open_bytes += size;
            self.open.insert(key, write);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open_bytes = 0;
    }

    /// All of them, in order.
    pub(super) fn finish(mut self) -> Vec<Batch> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, bytes: usize) -> (Bytes, Write) {
        (Bytes::copy_from_slice(key.as_bytes()), Write::Put(vec![0; bytes].into(), 0))
    }

    fn sizes(groups: Vec<Vec<(Bytes, Write)>>) -> Vec<usize> {
        let mut batches = Batches::default();
        groups.into_iter().for_each(|group| batches.push(group));
        batches.finish().iter().map(Batch::len).collect()
    }

    #[test]
    fn batches_are_bounded_and_keep_revisions_together() {
        let one = |n: usize| (0..n).map(|i| vec![put(&format!("{i:04}"), 1)]).collect::<Vec<_>>();
        assert_eq!(sizes(one(0)), Vec::<usize>::new());
        assert_eq!(sizes(one(300)), [127, 127, 46]);
        let group = |at: usize, n: usize| {
            (0..n).map(|i| put(&format!("{at}/{i:04}"), 1)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(vec![group(0, 100), group(1, 100)]), [100, 100]);
        assert_eq!(sizes(vec![group(0, 200)]), [127, 73]);
        // Large values: alone, and not together with others.
        let large = vec![vec![put("a", 1)], vec![put("b", 1_500_000)], vec![put("c", 1)]];
        assert_eq!(sizes(large), [1, 1, 1]);
        // The last write to a key counts.
        let mut batches = Batches::default();
        batches.push(vec![put("a", 1)]);
        batches.push(vec![(Bytes::from_static(b"a"), Write::Delete)]);
        let expected = Batch::from([(Bytes::from_static(b"a"), Write::Delete)]);
        assert_eq!(batches.finish(), [expected]);
    }
}
