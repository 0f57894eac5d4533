//! Samples of one series that came after later ones: kept apart, in chunks of their own, and brought into order
//! when they are read.

use crate::{
    Sample, chunk,
    head::Sealed,
    varint::{self, Malformed, Reader},
};

#[derive(Debug, Default)]
pub(crate) struct Late {
    /// Sorted by time, each time once.
    samples: Vec<Sample>,
    /// Not on disk yet.
    sealed: Vec<Sealed>,
    /// The first and last time of those on disk.
    on_disk: Option<(i64, i64)>,
}

impl Late {
    /// Takes a sample; false when one of that time is known.
    pub(crate) fn push(&mut self, sample: Sample) -> bool {
        match self.samples.binary_search_by_key(&sample.timestamp_ms, |s| s.timestamp_ms) {
            Ok(_) => return false,
            Err(at) => self.samples.insert(at, sample),
        }
        if self.samples.len() >= chunk::SAMPLES_MAX {
            self.seal();
        }
        true
    }

    fn seal(&mut self) {
        let bucket = |s: &Sample| chunk::bucket(s.timestamp_ms);
        let chunks = self.samples.chunk_by(|a, b| bucket(a) == bucket(b)).map(Sealed::new);
        self.sealed.extend(chunks);
        self.samples = Vec::new();
    }

    /// Seals what ended before `cutoff_ms`; whether there was anything.
    pub(crate) fn rest(&mut self, cutoff_ms: i64) -> bool {
        let is_over = self.samples.last().is_some_and(|s| s.timestamp_ms < cutoff_ms);
        if is_over {
            self.seal();
        }
        is_over
    }

    pub(crate) fn unsaved(&self) -> &[Sealed] {
        &self.sealed
    }

    /// So many of the first sealed chunks are on disk.
    pub(crate) fn saved(&mut self, count: usize) {
        for chunk in self.sealed.drain(..count) {
            let (from, to) = self.on_disk.unwrap_or((chunk.start_ms, chunk.end_ms));
            self.on_disk = Some((from.min(chunk.start_ms), to.max(chunk.end_ms)));
        }
    }

    /// What is in no chunk.
    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Between which times the disk may hold chunks, by the time it is read: what is sealed is being saved.
    pub(crate) fn may_be_on_disk(&self) -> Option<(i64, i64)> {
        let ends = self.sealed.iter().map(|chunk| (chunk.start_ms, chunk.end_ms));
        let all = self.on_disk.into_iter().chain(ends);
        all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// `n`, n × (time minus the one before, value), then the range on disk: 0, or 1 and both ends; all of it
    /// after a 1.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        varint::put(out, 1);
        // Chunks that are saved with the row count as saved.
        let on_disk = self.may_be_on_disk();
        varint::put(out, self.samples.len() as u64);
        let mut last = 0_i64;
        for sample in &self.samples {
            varint::put_signed(out, sample.timestamp_ms.wrapping_sub(last));
            out.extend_from_slice(&sample.value.to_bits().to_be_bytes());
            last = sample.timestamp_ms;
        }
        varint::put(out, on_disk.is_some().into());
        if let Some((from, to)) = on_disk {
            varint::put_signed(out, from);
            varint::put_signed(out, to);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        if reader.unsigned()? == 0 {
            return Ok(None);
        }
        let mut late = Self::default();
        let count = reader.count(9)?;
        let mut last = 0_i64;
        for _ in 0..count {
            last = last.wrapping_add(reader.signed()?);
            let bits = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
            let value = f64::from_bits(u64::from_be_bytes(bits));
            late.samples.push(Sample { timestamp_ms: last, value });
        }
        if reader.unsigned()? != 0 {
            late.on_disk = Some((reader.signed()?, reader.signed()?));
        }
        Ok(Some(late))
    }
}
