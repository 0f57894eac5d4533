//! A full chunk, as it lies on disk: times and values apart, each in the smallest of several ways.
//!
//! ```text
//! 2 count t0 t1-t0            then how each interval differs from the one before:
//!   0 runs                    zigzag varints, but a 0 is followed by how many more zeros come
//!   w packed                  zigzag numbers of w-1 bits each
//! values, after a byte:
//!   0 constant                8 bytes
//!   1 tokens                  1nnnnnnn the last value n+1 times again; 0lll ssss the XOR with it has lll zero
//!                             bytes, then these ssss bytes, then zeros
//!   2 XOR                     lowest bit, width, first value; then packed what changed between those bits
//!   3 decimal                 e order base width v0; values are whole numbers by 10^e. Order 0: each minus
//!                             base, packed; order 1: each minus the one before it, minus base
//! ```
//! (Gorilla, VLDB 2015 §4.1, with frame of reference in place of its prefix codes.) Chunks that begin with 1 are
//! of the format before: times and tokens only.

use crate::{
    Sample, bits,
    bits::Unpack,
    varint::{self, Malformed, Reader},
};

const VERSION: u8 = 2;
const CONSTANT: u8 = 0;
const TOKENS: u8 = 1;
const XOR: u8 = 2;
const DECIMAL: u8 = 3;
const REPEAT: u8 = 0x80;
const REPEAT_MAX: usize = 0x80;
/// Digits after the point that are tried.
const DIGITS_MAX: usize = 6;
const POWERS: [f64; DIGITS_MAX + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers below this are exact, and their differences too.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Writes samples of any timestamps and any bits.
pub(crate) fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 2 + 32);
    out.push(VERSION);
    varint::put(&mut out, samples.len() as u64);
    put_times(&mut out, samples);
    put_values(&mut out, samples);
    out
}

fn put_times(out: &mut Vec<u8>, samples: &[Sample]) {
    let (mut last, mut interval) = (0_i64, 0_i64);
    let mut changes = Vec::with_capacity(samples.len());
    for (at, sample) in samples.iter().enumerate() {
        let now = sample.timestamp_ms.wrapping_sub(last);
        if at < 2 {
            varint::put_signed(out, now);
        } else {
            changes.push(zigzag(now.wrapping_sub(interval)));
        }
        (last, interval) = (sample.timestamp_ms, now);
    }
    let mut runs = Vec::new();
    for run in changes.chunk_by(|a, b| *a == 0 && *b == 0) {
        varint::put(&mut runs, run[0]);
        if run[0] == 0 {
            varint::put(&mut runs, run.len() as u64 - 1);
        }
    }
    let width = changes.iter().map(|c| bits::width(*c)).max().unwrap_or(0);
    if bits::size(changes.len(), width) < runs.len() {
        out.push(width as u8 + 1);
        bits::pack(out, width, changes.into_iter());
    } else {
        out.push(0);
        out.extend_from_slice(&runs);
    }
}

fn put_values(out: &mut Vec<u8>, samples: &[Sample]) {
    let bits = |s: &Sample| s.value.to_bits();
    let first = samples.first().map_or(0, bits);
    if samples.iter().all(|s| bits(s) == first) {
        out.push(CONSTANT);
        return out.extend_from_slice(&first.to_be_bytes());
    }
    let at = out.len();
    match decimals(samples) {
        Some((digits, whole)) => put_decimals(out, digits, &whole),
        None => put_xors(out, samples),
    }
    let tokens = tokens(samples);
    if tokens.len() < out.len() - at {
        out.truncate(at);
        out.extend_from_slice(&tokens);
    }
}

/// The values as whole numbers, and by which power of ten, if they are all exactly that.
fn decimals(samples: &[Sample]) -> Option<(usize, Vec<i64>)> {
    let mut digits = 0;
    for sample in samples {
        while whole(sample.value, digits).is_none() {
            digits += 1;
            if digits > DIGITS_MAX {
                return None;
            }
        }
    }
    let all = samples.iter().map(|s| whole(s.value, digits)).collect::<Option<_>>()?;
    Some((digits, all))
}

fn whole(value: f64, digits: usize) -> Option<i64> {
    let scaled = (value * POWERS[digits]).round();
    let back = scaled as i64 as f64 / POWERS[digits];
    (scaled.abs() < WHOLE_MAX && back.to_bits() == value.to_bits()).then_some(scaled as i64)
}

fn put_decimals(out: &mut Vec<u8>, digits: usize, whole: &[i64]) {
    let changes: Vec<_> = whole.windows(2).map(|w| w[1] - w[0]).collect();
    let range = |numbers: &[i64]| {
        let (min, max) = (numbers.iter().min().copied(), numbers.iter().max().copied());
        let (min, max) = (min.unwrap_or(0), max.unwrap_or(0));
        (min, bits::width(max.wrapping_sub(min) as u64))
    };
    let (plain, change) = (range(&whole[1..]), range(&changes));
    let (order, numbers, (base, width)) =
        if plain.1 <= change.1 { (0, &whole[1..], plain) } else { (1, &changes[..], change) };
    out.extend_from_slice(&[DECIMAL, digits as u8, order]);
    varint::put_signed(out, base);
    out.push(width as u8);
    varint::put_signed(out, whole[0]);
    bits::pack(out, width, numbers.iter().map(|n| n.wrapping_sub(base) as u64));
}

fn put_xors(out: &mut Vec<u8>, samples: &[Sample]) {
    let xors = || samples.windows(2).map(|w| w[1].value.to_bits() ^ w[0].value.to_bits());
    let all = xors().fold(0, |all, xor| all | xor);
    let lowest = all.trailing_zeros().min(63);
    let width = bits::width(all >> lowest);
    out.extend_from_slice(&[XOR, lowest as u8, width as u8]);
    out.extend_from_slice(&samples[0].value.to_bits().to_be_bytes());
    bits::pack(out, width, xors().map(|xor| xor >> lowest));
}

fn tokens(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 4);
    out.push(TOKENS);
    let mut last = 0_u64;
    for run in samples.chunk_by(|a, b| a.value.to_bits() == b.value.to_bits()) {
        let bits = run[0].value.to_bits();
        let mut repeats = run.len();
        if bits != last {
            let xor = bits ^ last;
            let leading = (xor.leading_zeros() / 8) as usize;
            let size = 8 - leading - (xor.trailing_zeros() / 8) as usize;
            out.push((leading << 4 | size) as u8);
            out.extend_from_slice(&xor.to_be_bytes()[leading..leading + size]);
            (last, repeats) = (bits, repeats - 1);
        }
        while repeats > 0 {
            let n = repeats.min(REPEAT_MAX);
            out.push(REPEAT | (n - 1) as u8);
            repeats -= n;
        }
    }
    out
}

/// Appends what [`encode`] wrote.
pub(crate) fn read(bytes: &[u8], samples: &mut Vec<Sample>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let start = samples.len();
    let version = reader.byte()?;
    let count = reader.unsigned()?;
    // A chunk of one value and regular times is short, however many samples it has.
    let count = usize::try_from(count).ok().filter(|n| *n <= usize::from(u16::MAX));
    let count = count.ok_or("a chunk has too many samples")?;
    match version {
        1 => read_plain_times(&mut reader, count, samples)?,
        VERSION => read_times(&mut reader, count, samples)?,
        _ => return Err("a chunk has an unknown version"),
    }
    let Some(samples) = samples.get_mut(start..) else { return Err("ends too early") };
    let way = if version == 1 { TOKENS } else { reader.byte()? };
    match way {
        CONSTANT => {
            let value = value(&mut reader)?;
            samples.iter_mut().for_each(|s| s.value = value);
        }
        TOKENS => read_tokens(&mut reader, samples)?,
        XOR => read_xors(&mut reader, samples)?,
        DECIMAL => read_decimals(&mut reader, samples)?,
        _ => return Err("a chunk has unknown values"),
    }
    reader.end()
}

fn read_plain_times(
    reader: &mut Reader<'_>,
    count: usize,
    samples: &mut Vec<Sample>,
) -> Result<(), Malformed> {
    let (mut at_ms, mut interval) = (0_i64, 0_i64);
    for at in 0..count {
        let change = reader.signed()?;
        interval = if at < 2 { change } else { interval.wrapping_add(change) };
        at_ms = at_ms.wrapping_add(interval);
        samples.push(Sample { timestamp_ms: at_ms, value: 0.0 });
    }
    Ok(())
}

fn read_times(
    reader: &mut Reader<'_>,
    count: usize,
    samples: &mut Vec<Sample>,
) -> Result<(), Malformed> {
    let (mut at_ms, mut interval) = (0_i64, 0_i64);
    for _ in 0..count.min(2) {
        interval = reader.signed()?;
        at_ms = at_ms.wrapping_add(interval);
        samples.push(Sample { timestamp_ms: at_ms, value: 0.0 });
    }
    let mut left = count.saturating_sub(2);
    let mut next = |change: u64| {
        interval = interval.wrapping_add(unzigzag(change));
        at_ms = at_ms.wrapping_add(interval);
        Sample { timestamp_ms: at_ms, value: 0.0 }
    };
    match reader.byte()? {
        0 => {
            while left > 0 {
                let change = reader.unsigned()?;
                let run = if change == 0 { reader.unsigned()? } else { 0 };
                let run = usize::try_from(run).ok().filter(|n| *n < left);
                let run = run.ok_or("a run is longer than the chunk")? + 1;
                samples.extend((0..run).map(|_| next(change)));
                left -= run;
            }
        }
        width => {
            let mut unpack = Unpack::new(reader, left, u32::from(width) - 1)?;
            samples.extend((0..left).map(|_| next(unpack.next())));
        }
    }
    Ok(())
}

fn read_tokens(reader: &mut Reader<'_>, samples: &mut [Sample]) -> Result<(), Malformed> {
    let mut bits = 0_u64;
    let mut at = 0;
    while at < samples.len() {
        let token = reader.byte()?;
        let repeats = if token & REPEAT != 0 {
            usize::from(token & !REPEAT) + 1
        } else {
            bits ^= changed(token, reader)?;
            1
        };
        let run = samples.get_mut(at..at + repeats).ok_or("a run is longer than the chunk")?;
        run.iter_mut().for_each(|sample| sample.value = f64::from_bits(bits));
        at += repeats;
    }
    Ok(())
}

fn changed(token: u8, reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let (leading, size) = (usize::from(token >> 4), usize::from(token & 0x0f));
    let mut xor = [0_u8; 8];
    xor.get_mut(leading..leading + size)
        .ok_or("a value is longer than 8 bytes")?
        .copy_from_slice(reader.bytes(size)?);
    Ok(u64::from_be_bytes(xor))
}

fn read_xors(reader: &mut Reader<'_>, samples: &mut [Sample]) -> Result<(), Malformed> {
    let (lowest, width) = (u32::from(reader.byte()?), u32::from(reader.byte()?));
    if lowest + width > u64::BITS {
        return Err("a value is longer than 8 bytes");
    }
    let first = value(reader)?;
    let Some((head, rest)) = samples.split_first_mut() else { return Ok(()) };
    head.value = first;
    let mut bits = first.to_bits();
    let mut unpack = Unpack::new(reader, rest.len(), width)?;
    for sample in rest {
        bits ^= unpack.next() << lowest;
        sample.value = f64::from_bits(bits);
    }
    Ok(())
}

fn read_decimals(reader: &mut Reader<'_>, samples: &mut [Sample]) -> Result<(), Malformed> {
    let digits = usize::from(reader.byte()?);
    let power = *POWERS.get(digits).ok_or("a power of ten is unknown")?;
    let order = reader.byte()?;
    let base = reader.signed()?;
    let width = u32::from(reader.byte()?);
    let mut whole = reader.signed()?;
    let Some((head, rest)) = samples.split_first_mut() else { return Ok(()) };
    head.value = whole as f64 / power;
    let mut unpack = Unpack::new(reader, rest.len(), width)?;
    for sample in rest {
        let number = base.wrapping_add(unpack.next() as i64);
        whole = if order == 0 { number } else { whole.wrapping_add(number) };
        sample.value = whole as f64 / power;
    }
    Ok(())
}

fn value(reader: &mut Reader<'_>) -> Result<f64, Malformed> {
    let bytes = reader.bytes(8)?.try_into().map_err(|_| "ends too early")?;
    Ok(f64::from_bits(u64::from_be_bytes(bytes)))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests;
