//! The body of a remote write request, read where it lies: no string is copied, and of series that are known
//! nothing is allocated.
//!
//! Only what `prompb` has of the messages is understood; other fields are passed over, as protocol buffers ask.

use watchkeep_series::{HistogramSample, Incoming, Labels, METRIC_NAME, Sample};

use super::{
    codec::DecodeError,
    native::{self, Native},
};

/// What is wrong with bytes that are not the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// A request's series, one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    labels: Vec<(&'a str, &'a str)>,
    samples: Vec<Sample>,
    histograms: Vec<HistogramSample>,
    /// Where each series' labels, samples and histograms end.
    ends: Vec<(usize, usize, usize)>,
}

impl<'a> Batch<'a> {
    /// Reads a request.
    pub(super) fn read(plain: &'a [u8]) -> Result<Self, DecodeError> {
        let mut batch = Self::default();
        let mut fields = Fields(plain);
        while let Some((field, value)) = fields.next()? {
            if let (1, Value::Bytes(series)) = (field, value) {
                batch.series(series)?;
            }
        }
        Ok(batch)
    }

    fn series(&mut self, series: &'a [u8]) -> Result<(), DecodeError> {
        let start = self.labels.len();
        let mut histograms = Vec::new();
        let mut fields = Fields(series);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(bytes)) => self.labels.push(label(bytes)?),
                (2, Value::Bytes(bytes)) => self.samples.push(sample(bytes)?),
                (4, Value::Bytes(bytes)) => histograms.push(bytes),
                _ => {}
            }
        }
        let labels = &mut self.labels[start..];
        if !labels.is_sorted_by(|a, b| a.0 < b.0) {
            labels.sort_unstable();
            if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(DecodeError::DuplicateLabel(twice[0].0.to_owned()));
            }
        }
        // A label without a value is one that is not there.
        let mut kept = start;
        for at in start..self.labels.len() {
            if !self.labels[at].1.is_empty() {
                self.labels.swap(kept, at);
                kept += 1;
            }
        }
        self.labels.truncate(kept);
        if self.labels[start..].iter().all(|(name, _)| *name != METRIC_NAME) {
            return Err(DecodeError::NoName(Labels::new(self.labels[start..].iter().copied())));
        }
        for bytes in histograms {
            match native::read(bytes) {
                Ok(Native::Histogram(histogram)) => self.histograms.push(histogram),
                Ok(Native::Stale(sample)) => self.samples.push(sample),
                Err(message) => {
                    let series = Labels::new(self.labels[start..].iter().copied());
                    return Err(DecodeError::Histogram { series, message });
                }
            }
        }
        self.ends.push((self.labels.len(), self.samples.len(), self.histograms.len()));
        Ok(())
    }

    /// The series, for the store.
    pub(super) fn iter(&self) -> impl Iterator<Item = Incoming<'_>> + Clone {
        let starts = std::iter::once((0, 0, 0)).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| Incoming {
            labels: &self.labels[from.0..to.0],
            samples: &self.samples[from.1..to.1],
            histograms: &self.histograms[from.2..to.2],
        })
    }
}

fn label(bytes: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields(bytes);
    while let Some((field, bytes)) = fields.next()? {
        match (field, bytes) {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed("a label is not UTF-8"))
}

fn sample(bytes: &[u8]) -> Result<Sample, Malformed> {
    let mut sample = Sample { timestamp_ms: 0, value: 0.0 };
    let mut fields = Fields(bytes);
    while let Some((field, value)) = fields.next()? {
        match (field, value) {
            (1, Value::Fixed(bits)) => sample.value = f64::from_bits(bits),
            (2, Value::Varint(number)) => sample.timestamp_ms = number.cast_signed(),
            _ => {}
        }
    }
    Ok(sample)
}

/// A field's value as it lies on the wire.
enum Value<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Four bytes, which no field of ours has.
    Short,
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.bytes(8)?.first_chunk().ok_or(Malformed("ends too early"))?;
                Value::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => {
                let size = self.varint()?;
                let size = usize::try_from(size).map_err(|_| Malformed("ends too early"))?;
                Value::Bytes(self.bytes(size)?)
            }
            5 => {
                self.bytes(4)?;
                Value::Short
            }
            _ => return Err(Malformed("a field has an unknown type")),
        };
        if tag >> 3 == 0 {
            return Err(Malformed("a field has number 0"));
        }
        Ok(Some((tag >> 3, value)))
    }

    fn bytes(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(size).ok_or(Malformed("ends too early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed("ends too early"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a number is too long"))
    }
}
