//! Reading samples: which series memory knows, what it holds of them, and what the disk has besides.

use crate::{
    HistogramSample, Labels, Matcher, Points, Queryable, Sample, SeriesError,
    chunk::{self, Read, open},
    disk,
    head::Sealed,
    late::Late,
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
    histograms: Vec<HistogramSample>,
}

#[derive(Debug)]
struct Found {
    id: Id,
    labels: Labels,
    /// The disk has nothing that is older.
    oldest_ms: i64,
    last_ms: i64,
    /// From here on all that came in order is in memory.
    start_ms: i64,
    /// Where the late samples on disk begin and end.
    late_on_disk: Option<(i64, i64)>,
    /// Where its part of each of the vectors ends.
    ends: Ends,
}

#[derive(Debug, Default, Clone, Copy)]
struct Ends {
    open: usize,
    sealed: usize,
    late: usize,
    histograms: usize,
}

impl SeriesStore {
    /// All floats from `from_ms` to `to_ms`, both inclusive, of the series that every matcher means; sorted
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
        let max = self.options.samples_max;
        Queryable::select(self, matchers, from_ms, to_ms, max, &mut |labels, points| {
            if !points.floats.is_empty() {
                let samples = std::mem::take(&mut points.floats);
                answer.push(Series { labels: labels.clone(), samples });
            }
            Ok(())
        })?;
        Ok(answer)
    }

    /// Takes from memory what may be in the range, without decoding it.
    fn hold(&self, ids: &[Id], from_ms: i64, to_ms: i64, held: &mut Held) {
        held.series.clear();
        held.open.clear();
        held.sealed.clear();
        held.late.clear();
        held.histograms.clear();
        let memory = self.read();
        // What is not in a bucket yet is still in memory.
        let buckets = &memory.meta.buckets;
        let on_disk_ms = buckets.keys().next().map_or(i64::MAX, |b| chunk::bucket_start_ms(*b));
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
            held.histograms.extend_from_slice(head.histograms());
            if let Some(late) = head.late() {
                let unsaved = late.unsaved().iter().filter(is_meant);
                held.sealed.extend(unsaved.cloned());
                held.late.extend_from_slice(late.samples());
            }
            held.series.push(Found {
                id: *id,
                labels: memory.index.labels(series),
                oldest_ms: head.oldest_ms().max(on_disk_ms),
                last_ms: head.last_ms().unwrap_or(i64::MIN),
                start_ms: head.start_ms().unwrap_or(i64::MAX),
                late_on_disk: head.late().and_then(Late::may_be_on_disk),
                ends: Ends {
                    open: held.open.len(),
                    sealed: held.sealed.len(),
                    late: held.late.len(),
                    histograms: held.histograms.len(),
                },
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
        read: &mut Read,
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
                let (floats, histograms) = (read.floats.len(), read.histograms.len());
                read.chunk(&chunk?).map_err(|e| row()(e))?;
                let first = read.floats.get(floats).map(|s| s.timestamp_ms);
                let first = first.or(read.histograms.get(histograms).map(|s| s.timestamp_ms));
                if first.is_none_or(|first| first > to_ms) {
                    read.floats.truncate(floats);
                    read.histograms.truncate(histograms);
                    // A late chunk that ends after this one may begin before it.
                    if found.late_on_disk.is_none() {
                        break;
                    }
                }
            }
        }
        if found.late_on_disk.is_none() {
            read.cut(i64::MIN, found.start_ms.saturating_sub(1));
        }
        Ok(())
    }
}

impl Queryable for SeriesStore {
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
        samples_max: usize,
        each: &mut dyn FnMut(&Labels, &mut Points) -> Result<(), SeriesError>,
    ) -> Result<(), SeriesError> {
        let mut left = samples_max;
        let ids = self.read().index.select(matchers);
        let (mut held, mut read, mut points) =
            (Held::default(), Read::default(), Points::default());
        for ids in ids.chunks(HOLD_MAX) {
            self.hold(ids, from_ms, to_ms, &mut held);
            let mut from = Ends::default();
            for found in &held.series {
                read.clear();
                self.on_disk(found, from_ms, to_ms, &mut read)?;
                in_memory(found, &held, &from, &mut read)?;
                from = found.ends;
                read.cut(from_ms, to_ms);
                let enough = left.checked_sub(read.len());
                left = enough.ok_or(SeriesError::SamplesMax(samples_max))?;
                if read.len() > 0 {
                    points.labels.clone_from(&found.labels);
                    points.starts.clear();
                    std::mem::swap(&mut points.floats, &mut read.floats);
                    std::mem::swap(&mut points.histograms, &mut read.histograms);
                    each(&found.labels, &mut points)?;
                    std::mem::swap(&mut points.floats, &mut read.floats);
                    std::mem::swap(&mut points.histograms, &mut read.histograms);
                }
            }
        }
        Ok(())
    }
}

fn in_memory(found: &Found, held: &Held, from: &Ends, read: &mut Read) -> Result<(), SeriesError> {
    let to = &found.ends;
    for chunk in &held.sealed[from.sealed..to.sealed] {
        read.chunk(&chunk.bytes)
            .map_err(|e| disk::corrupt(format!("sealed chunk of {}", found.labels))(e))?;
    }
    let open = &held.open[from.open..to.open];
    open::read(open, &mut read.floats).map_err(disk::corrupt("open chunk"))?;
    read.histograms.extend_from_slice(&held.histograms[from.histograms..to.histograms]);
    let late = &held.late[from.late..to.late];
    if !late.is_empty() || found.late_on_disk.is_some() {
        read.floats.extend_from_slice(late);
        // Stable: of two with one time the one that came in order is read first.
        read.floats.sort_by_key(|s| s.timestamp_ms);
        read.floats.dedup_by_key(|s| s.timestamp_ms);
        read.histograms.sort_by_key(|s| s.timestamp_ms);
        read.histograms.dedup_by_key(|s| s.timestamp_ms);
    }
    Ok(())
}
