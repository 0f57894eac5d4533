//! Reading samples: which series memory knows, what it holds of them, and what the disk has besides.

use crate::{
    Labels, Matcher, Sample, SeriesError, chunk,
    chunk::{open, sealed},
    disk,
    head::Sealed,
    postings::Id,
    store::{Series, SeriesStore},
};

/// Series that are looked up under one hold of the lock.
const HOLD_MAX: usize = 64;

/// Series as memory knew them at one moment. What is in the vectors is reused.
#[derive(Debug, Default)]
struct Held {
    series: Vec<Found>,
    /// Open chunks, one after the other.
    open: Vec<u8>,
    sealed: Vec<Sealed>,
    late: Vec<Sample>,
}

#[derive(Debug)]
struct Found {
    id: Id,
    labels: Labels,
    oldest_ms: i64,
    last_ms: i64,
    /// From here on all that came in order is in memory.
    start_ms: i64,
    /// Where the late samples on disk begin and end.
    late_on_disk: Option<(i64, i64)>,
    /// Where the series' part of each of the vectors ends.
    open_end: usize,
    sealed_end: usize,
    late_end: usize,
}

impl SeriesStore {
    /// All samples from `from_ms` to `to_ms`, both inclusive, of the series that every matcher means; sorted
    /// by labels. Reads from disk what is older than what memory holds.
    ///
    /// # Errors
    /// When the answer would be larger than [`Options::samples_max`](crate::Options::samples_max), or a row cannot
    /// be read.
    pub fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Series>, SeriesError> {
        let mut answer = Vec::new();
        let samples_max = self.options.samples_max;
        self.for_each(matchers, from_ms, to_ms, samples_max, |labels, samples| {
            answer.push(Series { labels: labels.clone(), samples: std::mem::take(samples) });
            Ok(())
        })?;
        Ok(answer)
    }

    /// Calls `each` for every series that all matchers mean and that has samples in `from_ms..=to_ms`, sorted by
    /// labels, with those samples; `each` may take the buffer. Stops at the first error of `each`.
    ///
    /// # Errors
    /// [`SeriesError::SamplesMax`] when more than `samples_max` samples would be read in total, those of `each`, and
    /// when a row cannot be read.
    pub fn for_each(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        samples_max: usize,
        mut each: impl FnMut(&Labels, &mut Vec<Sample>) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
        let mut left = samples_max;
        let ids = self.read().index.select(matchers);
        let mut held = Held::default();
        let mut samples = Vec::new();
        for ids in ids.chunks(HOLD_MAX) {
            self.hold(ids, from_ms, to_ms, &mut held);
            let (mut open, mut sealed, mut late) = (0, 0, 0);
            for found in &held.series {
                samples.clear();
                self.on_disk(found, from_ms, to_ms, &mut samples)?;
                in_memory(
                    found,
                    &held.sealed[sealed..found.sealed_end],
                    &held.open[open..found.open_end],
                    &mut samples,
                )?;
                let came_late = &held.late[late..found.late_end];
                if !came_late.is_empty() || found.late_on_disk.is_some() {
                    samples.extend_from_slice(came_late);
                    // Stable: of two with one time the one that came in order is read first.
                    samples.sort_by_key(|s| s.timestamp_ms);
                    samples.dedup_by_key(|s| s.timestamp_ms);
                }
                (open, sealed, late) = (found.open_end, found.sealed_end, found.late_end);
                cut(&mut samples, from_ms, to_ms);
                let enough = left.checked_sub(samples.len());
                left = enough.ok_or(SeriesError::SamplesMax(samples_max))?;
                if !samples.is_empty() {
                    each(&found.labels, &mut samples)?;
                }
            }
        }
        Ok(())
    }

    /// Takes from memory what may be in the range, without decoding it.
    fn hold(&self, ids: &[Id], from_ms: i64, to_ms: i64, held: &mut Held) {
        held.series.clear();
        held.open.clear();
        held.sealed.clear();
        held.late.clear();
        let memory = self.read();
        for id in ids {
            let Some(series) = memory.index.get(*id) else { continue };
            let head = &series.head;
            if !head.spans(from_ms, to_ms) {
                continue;
            }
            let is_meant = |c: &&Sealed| c.end_ms >= from_ms && c.start_ms <= to_ms;
            held.sealed.extend(head.sealed().iter().filter(is_meant).cloned());
            if head.open().first_ms().is_some_and(|first| first <= to_ms) {
                held.open.extend_from_slice(head.open().bytes());
            }
            if let Some(late) = head.late() {
                let unsaved = late.unsaved().iter().filter(is_meant);
                held.sealed.extend(unsaved.cloned());
                held.late.extend_from_slice(late.samples());
            }
            held.series.push(Found {
                id: *id,
                labels: memory.index.labels(series),
                oldest_ms: head.oldest_ms(),
                last_ms: head.last_ms().unwrap_or(i64::MIN),
                start_ms: head.start_ms().unwrap_or(i64::MAX),
                // What is sealed and not saved may be on disk by the time that is read.
                late_on_disk: head.late().and_then(|late| {
                    late.on_disk()
                        .or_else(|| (!late.unsaved().is_empty()).then_some((i64::MAX, i64::MIN)))
                }),
                open_end: held.open.len(),
                sealed_end: held.sealed.len(),
                late_end: held.late.len(),
            });
        }
    }

    /// What chunks on disk hold of the range, up to where memory begins: a chunk that was saved since memory
    /// was read is in both.
    fn on_disk(
        &self,
        found: &Found,
        from_ms: i64,
        to_ms: i64,
        samples: &mut Vec<Sample>,
    ) -> Result<(), SeriesError> {
        let in_order_ms = to_ms.min(found.last_ms).min(found.start_ms.saturating_sub(1));
        let late = found.late_on_disk.unwrap_or((i64::MAX, i64::MIN));
        let from_ms = from_ms.max(found.oldest_ms);
        let to_ms = in_order_ms.max(to_ms.min(late.1));
        if from_ms > to_ms {
            return Ok(());
        }
        let row = || disk::corrupt(format!("chunk of {}", found.labels));
        for bucket in chunk::bucket(from_ms)..=chunk::bucket(to_ms) {
            let from_ms = from_ms.max(chunk::bucket_start_ms(bucket));
            // A chunk that ends later may begin in the range.
            let end_ms = chunk::bucket_end_ms(bucket) - 1;
            for chunk in self.disk.chunks(found.id, from_ms, end_ms) {
                let start = samples.len();
                sealed::read(&chunk?, samples).map_err(|e| row()(e))?;
                if samples.get(start).is_none_or(|first| first.timestamp_ms > to_ms) {
                    samples.truncate(start);
                    break;
                }
            }
        }
        if found.late_on_disk.is_none() {
            let known = samples.partition_point(|s| s.timestamp_ms < found.start_ms);
            samples.truncate(known);
        }
        Ok(())
    }
}

fn in_memory(
    found: &Found,
    chunks: &[Sealed],
    open: &[u8],
    samples: &mut Vec<Sample>,
) -> Result<(), SeriesError> {
    for chunk in chunks {
        sealed::read(&chunk.bytes, samples)
            .map_err(|e| disk::corrupt(format!("sealed chunk of {}", found.labels))(e))?;
    }
    open::read(open, samples).map_err(disk::corrupt("open chunk"))
}

/// Leaves what is in the range.
fn cut(samples: &mut Vec<Sample>, from_ms: i64, to_ms: i64) {
    if samples.last().is_some_and(|last| last.timestamp_ms > to_ms) {
        samples.truncate(samples.partition_point(|s| s.timestamp_ms <= to_ms));
    }
    if samples.first().is_some_and(|first| first.timestamp_ms < from_ms) {
        samples.drain(..samples.partition_point(|s| s.timestamp_ms < from_ms));
    }
}
