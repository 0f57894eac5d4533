//! Bytes as they are on somebody's disk.

use proptest::prelude::*;

use super::*;
use crate::{Labels, head::Head};

fn sample(timestamp_ms: i64, value: f64) -> Sample {
    Sample { timestamp_ms, value }
}

/// When this fails, give the row a new id or version instead.
#[test]
fn golden() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let labels = Labels::new([("__name__", "up"), ("service", "web")]);
    let samples = [sample(1000, 1.0), sample(2000, 1.0), sample(3001, 0.25)];
    let (mut log, mut head, mut row) = (LogRow::default(), Head::default(), heads(9));
    log.push(7, sample(3001, 0.25));
    log.push(300, sample(3000, 1.0));
    let value = std::sync::Arc::default();
    log.push_histogram(299, &HistogramSample { timestamp_ms: 3000, value });
    samples.into_iter().for_each(|sample| assert!(!head.push(sample)));
    head.push_late(sample(5, 0.5));
    row.push(7);
    head.write(&mut row);
    let meta = meta(&Meta { next_id: 7, next_suffix: 300, buckets: [(-1, 5), (2, 300)].into() });
    let rows: [(&str, &[u8], &[u8]); 6] = [
        ("meta", &META_KEY, &meta),
        ("series", &series_key(7), &series(labels.iter())),
        ("chunk", &chunk_key(7, 3001, None), &chunk::sealed::encode(&samples)),
        ("late", &chunk_key(7, 7_203_001, Some(9)), &chunk::sealed::encode(&samples[..1])),
        ("log", &log_key(9), &log.bytes),
        ("head", &head_key(3), &row),
    ];
    let text: Vec<_> =
        rows.iter().map(|(row, k, v)| format!("{row} {} {}", hex(k), hex(v))).collect();
    assert_eq!(
        text,
        [
            "meta 00 0207ac02010504ac02",
            "series 0100000007 0102085f5f6e616d655f5f027570077365727669636503776562",
            "chunk 02800000000000000700000bb9 0203d00fd00f000201023ff0801120",
            "late 02800000010000000700000bb90000000000000009 0201d00f00003ff0000000000000",
            "log 030000000000000009 021cf22e3fd00000000000009409013ff0000000000000010014010101f02e0000000000000\
             00000000000000000",
            "head 0400000003 0109070ae82e0a7ed00f027fd00f48022001010a3fe00000000000000000",
        ]
    );
}

#[test]
fn keys_sort_as_they_count() {
    let bucket = chunk::bucket_end_ms(0);
    let times = [i64::MIN, -bucket, -1, 0, 1, bucket - 1, bucket, i64::MAX];
    assert!(times.map(|t| chunk_key(1, t, None)).is_sorted());
    assert!(chunk_key(1, 7, None) < chunk_key(1, 7, Some(0)));
    assert!(chunk_key(1, 7, Some(u64::MAX)) < chunk_key(1, 8, None));
    assert!(chunk_key(1, bucket - 1, Some(u64::MAX)) < chunk_key(2, 0, None));
    assert!(chunk_key(u32::MAX, bucket - 1, None) < chunk_key(0, bucket, None));
    assert_eq!((number(&log_key(77)), number(&series_key(77))), (Ok(77), Ok(77)));
}

proptest! {
    #[test]
    fn series_round_trip(pairs in prop::collection::btree_map(".{0,9}", ".{1,9}", 0..5)) {
        let labels = Labels::new(&pairs);
        let row = series(labels.iter());
        let mut back = Vec::new();
        read_series(&row, &mut back).expect("reads");
        prop_assert!(labels.iter().eq(back));
    }

    #[test]
    fn log_round_trip(raw: Vec<(u32, i64, u64)>) {
        let mut row = LogRow::default();
        for (id, timestamp_ms, bits) in &raw {
            row.push(*id, sample(*timestamp_ms, f64::from_bits(*bits)));
        }
        let mut back = Vec::new();
        let each = |id, logged| match logged {
            Logged::Float(s) => back.push((id, s.timestamp_ms, s.value.to_bits())),
            Logged::Histogram(_) => unreachable!("none was written"),
        };
        read_log(&row.bytes, each).expect("reads");
        prop_assert_eq!((back, row.samples), (raw.clone(), raw.len()));
    }

    #[test]
    fn meta_round_trip(next_id: u64, next_suffix: u64, buckets: BTreeMap<i32, u64>) {
        let all = Meta { next_id, next_suffix, buckets };
        prop_assert_eq!(read_meta(&meta(&all)), Ok(all));
    }

    #[test]
    fn garbage_is_an_error_at_worst(bytes: Vec<u8>, kind in 0..3_u8) {
        let bytes = [&[kind], &bytes[..]].concat();
        let _ = (read_meta(&bytes), read_series(&bytes, &mut Vec::new()), number(&bytes));
        let _ = read_log(&bytes, |_, _| ());
        if let Ok((_, mut reader)) = read_heads(&bytes) {
            let _ = Head::read(&mut reader);
        }
    }
}
