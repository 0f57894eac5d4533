//! What memory holds of one series: its open chunk, sealed chunks until they are on disk and the last one beyond
//! that, and what came late.

use std::sync::Arc;

use crate::{
    HistogramSample, Sample, chunk,
    chunk::open::{self, Open},
    late::Late,
    varint::{self, Malformed, Reader},
};

/// Sealed chunks that stay in memory once they are on disk: the last minutes are what is asked for most.
const SAVED_MAX: usize = 1;

/// A full chunk.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) bytes: Arc<[u8]>,
}

impl Sealed {
    /// Of at least one sample.
    pub(crate) fn new(samples: &[Sample]) -> Self {
        let time = |s: Option<&Sample>| s.map_or(0, |s| s.timestamp_ms);
        Self {
            start_ms: time(samples.first()),
            end_ms: time(samples.last()),
            bytes: chunk::sealed::encode(samples).into(),
        }
    }
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

/// Timestamps only ever rise: on disk, then in `sealed`, then in `open`; `late` is apart.
#[derive(Debug)]
pub(crate) struct Head {
    open: Open,
    /// Only when `open` is empty.
    #[expect(
        clippy::box_collection,
        reason = "most series have none: that takes a word, not three"
    )]
    histograms: Option<Box<Vec<HistogramSample>>>,
    sealed: Vec<Sealed>,
    /// How many of `sealed` are on disk: the first ones.
    saved: usize,
    last_ms: Option<i64>,
    /// The first sample that was ever taken; an earlier one may have come late.
    oldest_ms: i64,
    late: Option<Box<Late>>,
}

impl Default for Head {
    /// A series that was never seen.
    fn default() -> Self {
        Self {
            open: Open::default(),
            histograms: None,
            sealed: Vec::new(),
            saved: 0,
            last_ms: None,
            oldest_ms: i64::MAX,
            late: None,
        }
    }
}

impl Head {
    pub(crate) fn order(&self, timestamp_ms: i64) -> Order {
        match self.last_ms {
            Some(last) if timestamp_ms == last => Order::Duplicate,
            Some(last) if timestamp_ms < last => Order::Past,
            _ => Order::Next,
        }
    }

    /// Takes a sample that is [`Order::Next`]; true when that sealed a chunk.
    pub(crate) fn push(&mut self, sample: Sample) -> bool {
        let is_over = self.is_over(sample.timestamp_ms) || !self.histograms().is_empty();
        let sealed = is_over && self.seal();
        self.open.push(sample);
        self.took(sample.timestamp_ms);
        self.open.len() >= chunk::SAMPLES_MAX && self.seal() || sealed
    }

    /// The same for a native histogram.
    pub(crate) fn push_histogram(&mut self, sample: HistogramSample) -> bool {
        let is_over = self.is_over(sample.timestamp_ms) || !self.open.is_empty();
        let sealed = is_over && self.seal();
        self.took(sample.timestamp_ms);
        let open = self.histograms.get_or_insert_default();
        open.push(sample);
        open.len() >= chunk::HISTOGRAMS_MAX && self.seal() || sealed
    }

    fn is_over(&self, timestamp_ms: i64) -> bool {
        let bucket = chunk::bucket(timestamp_ms);
        self.open_ms().is_some_and(|first| chunk::bucket(first) != bucket)
    }

    fn took(&mut self, timestamp_ms: i64) {
        self.last_ms = Some(timestamp_ms);
        self.oldest_ms = self.oldest_ms.min(timestamp_ms);
    }

    /// Timestamp of the first sample that is in no sealed chunk.
    fn open_ms(&self) -> Option<i64> {
        let histogram = self.histograms().first().map(|s| s.timestamp_ms);
        self.open.first_ms().or(histogram)
    }

    /// Native histograms in no sealed chunk.
    pub(crate) fn histograms(&self) -> &[HistogramSample] {
        self.histograms.as_ref().map_or(&[], |all| all)
    }

    /// Takes a sample that is [`Order::Past`], unless one of that time is known; whether it was taken.
    pub(crate) fn push_late(&mut self, sample: Sample) -> bool {
        let mut held = Vec::new();
        let is_open = self.open.first_ms().is_some_and(|first| first <= sample.timestamp_ms);
        if is_open && open::read(self.open.bytes(), &mut held).is_ok() {
            let at = held.binary_search_by_key(&sample.timestamp_ms, |s| s.timestamp_ms);
            if at.is_ok() {
                return false;
            }
        }
        self.oldest_ms = self.oldest_ms.min(sample.timestamp_ms);
        self.late.get_or_insert_default().push(sample)
    }

    /// Closes the open chunk; false when it is empty.
    pub(crate) fn seal(&mut self) -> bool {
        if let Some(open) = self.histograms.take().filter(|open| !open.is_empty()) {
            let time = |s: Option<&HistogramSample>| s.map_or(0, |s| s.timestamp_ms);
            self.sealed.push(Sealed {
                start_ms: time(open.first()),
                end_ms: time(open.last()),
                bytes: chunk::seal_histograms(&open).into(),
            });
            return true;
        }
        let mut samples = Vec::with_capacity(self.open.len());
        // What was written by `Open` reads.
        if self.open.is_empty() || open::read(self.open.bytes(), &mut samples).is_err() {
            return false;
        }
        self.sealed.push(Sealed::new(&samples));
        self.open = Open::default();
        true
    }

    /// Seals what ended before `cutoff_ms`, and gives up what is in memory without need; whether that sealed a
    /// chunk.
    pub(crate) fn rest(&mut self, cutoff_ms: i64) -> bool {
        let is_over = self.last_ms.is_none_or(|last| last < cutoff_ms);
        if is_over && self.saved == self.sealed.len() {
            self.sealed = Vec::new();
            self.saved = 0;
        }
        let late = self.late.as_mut().is_some_and(|late| late.rest(cutoff_ms));
        is_over && self.seal() || late
    }

    /// What is sealed and not on disk: in order, and late ones.
    pub(crate) fn unsaved(&self) -> (&[Sealed], &[Sealed]) {
        (&self.sealed[self.saved..], self.late.as_ref().map_or(&[], |late| late.unsaved()))
    }

    /// So many of the first chunks that were [`Self::unsaved`] are on disk.
    pub(crate) fn saved(&mut self, in_order: usize, late: usize) {
        self.saved += in_order;
        let surplus = self.saved.saturating_sub(SAVED_MAX);
        self.sealed.drain(..surplus);
        self.saved -= surplus;
        if let Some(known) = &mut self.late {
            known.saved(late);
        }
    }

    /// Whether it has samples from `from_ms` to `to_ms`, as far as is known without reading.
    pub(crate) fn spans(&self, from_ms: i64, to_ms: i64) -> bool {
        self.oldest_ms <= to_ms && self.last_ms.is_some_and(|last| last >= from_ms)
    }

    /// Whether nothing is as late as `cutoff_ms`.
    pub(crate) fn is_dead(&self, cutoff_ms: i64) -> bool {
        self.last_ms.is_none_or(|last| last < cutoff_ms)
    }

    pub(crate) fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    pub(crate) fn open(&self) -> &Open {
        &self.open
    }

    pub(crate) fn late(&self) -> Option<&Late> {
        self.late.as_deref()
    }

    pub(crate) fn oldest_ms(&self) -> i64 {
        self.oldest_ms
    }

    pub(crate) fn last_ms(&self) -> Option<i64> {
        self.last_ms
    }

    /// Timestamp of the first sample in memory: what came in order from here on is all in memory.
    pub(crate) fn start_ms(&self) -> Option<i64> {
        self.sealed.first().map(|chunk| chunk.start_ms).or(self.open_ms())
    }

    /// Bytes of samples on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let sealed: usize = self.sealed.iter().map(|chunk| chunk.bytes.len() + 16).sum();
        self.open.capacity() + sealed + self.sealed.capacity() * size_of::<Sealed>()
    }

    /// What a crash may not take, for a head row: `oldest last-oldest size open late size histograms`. Sealed chunks are saved
    /// with it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        varint::put_signed(out, self.oldest_ms);
        varint::put_signed(out, self.last_ms.unwrap_or(0).wrapping_sub(self.oldest_ms));
        varint::put(out, self.open.bytes().len() as u64);
        out.extend_from_slice(self.open.bytes());
        match &self.late {
            None => varint::put(out, 0),
            Some(late) => late.write(out),
        }
        let histograms = match self.histograms() {
            [] => Vec::new(),
            all => chunk::seal_histograms(all),
        };
        varint::put(out, histograms.len() as u64);
        out.extend_from_slice(&histograms);
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let oldest_ms = reader.signed()?;
        let last_ms = oldest_ms.wrapping_add(reader.signed()?);
        let size = reader.count(1)?;
        let open = Open::recovered(reader.bytes(size)?)?;
        let late = Late::read(reader)?.map(Box::new);
        let size = reader.count(1)?;
        let mut read = chunk::Read::default();
        if size > 0 {
            read.chunk(reader.bytes(size)?)?;
        }
        let histograms = Some(read.histograms).filter(|all| !all.is_empty()).map(Box::new);
        let last_ms = Some(last_ms);
        Ok(Self { open, histograms, oldest_ms, last_ms, late, ..Self::default() })
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
            assert!(!head.push(sample(n)));
        }
        assert_eq!((head.order(max - 2), head.order(max - 1)), (Order::Past, Order::Duplicate));
        assert_eq!(head.order(max), Order::Next);
        assert!(head.push(sample(max)));
        assert_eq!((head.start_ms(), head.open().len(), head.unsaved().0.len()), (Some(1), 0, 1));
        head.push(sample(max + 1));
        head.saved(1, 0);
        // The last one stays at hand.
        assert_eq!((head.start_ms(), head.unsaved().0.len()), (Some(1), 0));
        assert!(head.seal() && !head.seal());
        head.saved(1, 0);
        assert_eq!((head.start_ms(), head.sealed().len()), (Some(max + 1), 1));
        assert!(!head.rest(max + 1) && head.sealed().len() == 1);
        assert!(!head.rest(max + 2) && head.sealed().is_empty());
        assert!(head.is_dead(max + 2) && !head.is_dead(max + 1));
        assert!(
            head.spans(0, 1) && head.spans(max + 1, i64::MAX) && !head.spans(max + 2, i64::MAX)
        );
    }

    #[test]
    fn a_chunk_ends_with_its_bucket() {
        let mut head = Head::default();
        let end = chunk::bucket_end_ms(7);
        let times = [end - 2, end - 1, end, end + 1];
        let sealed = times.map(|timestamp_ms| head.push(Sample { timestamp_ms, value: 1.0 }));
        assert_eq!(sealed, [false, false, true, false]);
        assert_eq!((head.sealed()[0].start_ms, head.sealed()[0].end_ms), (end - 2, end - 1));
    }

    #[test]
    fn histograms_and_floats_take_turns() {
        let mut head = Head::default();
        let histogram = |timestamp_ms| HistogramSample { timestamp_ms, value: Arc::default() };
        assert!(!head.push(Sample { timestamp_ms: 1, value: 1.0 }));
        assert!(head.push_histogram(histogram(2)));
        assert!(!head.push_histogram(histogram(3)));
        let mut row = Vec::new();
        head.write(&mut row);
        let back = Head::read(&mut Reader(&row)).expect("reads");
        assert_eq!(back.histograms(), head.histograms());
        assert!(head.push(Sample { timestamp_ms: 4, value: crate::stale_nan() }));
        let mut read = chunk::Read::default();
        head.sealed().iter().for_each(|chunk| read.chunk(&chunk.bytes).expect("reads"));
        assert_eq!(read.histograms, [histogram(2), histogram(3)]);
        assert_eq!((read.floats.len(), head.open().len(), head.start_ms()), (1, 1, Some(1)));
    }

    #[test]
    fn comes_back_from_its_row() {
        let mut head = Head::default();
        for n in 0..200 {
            head.push(Sample { timestamp_ms: n * n, value: n as f64 / 3.0 });
        }
        head.push_late(Sample { timestamp_ms: 7, value: 7.0 });
        let (mut row, mut again) = (Vec::new(), Vec::new());
        head.write(&mut row);
        let mut reader = Reader(&row);
        let back = Head::read(&mut reader).expect("reads");
        assert!(reader.end().is_ok());
        back.write(&mut again);
        assert_eq!(again, row);
        assert_eq!((back.order(199 * 199), back.oldest_ms()), (Order::Duplicate, 0));
    }
}
