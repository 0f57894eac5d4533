//! Any samples come back, and those of everyday life are small.

use proptest::prelude::*;

use super::*;
use crate::chunk::SAMPLES_MAX;

fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
    samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect()
}

fn decode(bytes: &[u8]) -> Result<Vec<Sample>, Malformed> {
    let mut samples = Vec::new();
    read(bytes, &mut samples).map(|()| samples)
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<f64>(),
        (0..5_i32).prop_map(|n| f64::from(n) / 100.0),
        any::<i32>().prop_map(f64::from),
        any::<i64>().prop_map(|n| n as f64),
        Just(1.0),
        Just(-0.0),
    ]
}

/// Values of one kind, mostly, as series have them.
fn values() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        prop::collection::vec(value(), 0..200),
        prop::collection::vec((0..1000_i32).prop_map(f64::from), 0..200),
        prop::collection::vec((0..1_000_000_i32).prop_map(|n| f64::from(n) / 1000.0), 0..200),
        prop::collection::vec(0.5..1.0, 0..200),
        prop::collection::vec(-9e15..9e15, 0..200)
            .prop_map(|v| v.into_iter().map(f64::round).collect()),
    ]
}

proptest! {
    #[test]
    fn any_samples_come_back(
        values in values(),
        jitter in prop::collection::vec(prop_oneof![Just(0_i64), -9..9_i64, any::<i64>()], 200),
        is_regular: bool,
    ) {
        let samples: Vec<_> = values
            .iter()
            .zip(0..)
            .map(|(value, n)| {
                let jitter = if is_regular { 0 } else { jitter[n as usize] };
                Sample { timestamp_ms: (n * 10_000_i64).wrapping_add(jitter), value: *value }
            })
            .collect();
        prop_assert_eq!(bits(&decode(&encode(&samples)).expect("decodes")), bits(&samples));
    }

    #[test]
    fn garbage_is_an_error_at_worst(bytes: Vec<u8>, version in 1..3_u8) {
        let _ = decode(&bytes);
        let _ = decode(&[&[version, 9], &bytes[..]].concat());
    }

    #[test]
    fn a_cut_chunk_is_an_error(values in values(), cut in 0_usize..20) {
        let at = |(value, n): (f64, i64)| Sample { timestamp_ms: n * n * 1000, value };
        let samples: Vec<_> = values.into_iter().zip(0..).map(at).collect();
        let bytes = encode(&samples);
        prop_assert!(decode(&bytes[..bytes.len() - 1 - cut.min(bytes.len() - 1)]).is_err());
    }
}

#[test]
fn the_former_format_is_read() {
    let bytes = [1, 3, 0xd0, 0x0f, 0xd0, 0x0f, 0x02, 0x02, 0x3f, 0xf0, 0x80, 0x11, 0x20];
    let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
    assert_eq!(decode(&bytes), Ok(vec![sample(1000, 1.0), sample(2000, 1.0), sample(3001, 0.25)]));
}

#[test]
fn what_it_takes() {
    let bytes = |jitter: i64, value: &dyn Fn(i64) -> f64| {
        let samples: Vec<_> = (0..SAMPLES_MAX as i64)
            .map(|n| Sample {
                timestamp_ms: 1_760_000_000_000 + n * 10_000 + n * 7 % (jitter + 1),
                value: value(n),
            })
            .collect();
        encode(&samples).len()
    };
    let random = |n: i64| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    for (what, size, at_most) in [
        ("always up", bytes(0, &|_| 1.0), 24),
        ("always up, late by some milliseconds", bytes(3, &|_| 1.0), 90),
        ("a counter", bytes(0, &|n| (n * 50 + random(n) as i64 % 50) as f64), 130),
        ("a gauge of whole numbers", bytes(0, &|n| (random(n) % 1000) as f64), 180),
        ("seconds, in milliseconds", bytes(0, &|n| (random(n) % 1000) as f64 / 1000.0), 180),
        ("any float in a range", bytes(0, &|n| 0.5 + random(n) as f64 / 1e10), 840),
    ] {
        assert!(size <= at_most, "{what}: {size} bytes");
    }
}
