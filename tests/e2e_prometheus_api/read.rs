//! `POST /api/v1/read` as clients ask that take no streams, and with native histograms, which no stream has: decoded, and the
//! same as Prometheus's; native histograms as they were written, since 2.42 names their series and leaves them out.

use prost::Message;
use tempfile::TempDir;
use watchkeep_catalog::prompb::{
    Histogram, Label, LabelMatcher, Query, ReadRequest, ReadResponse, TimeSeries, WriteRequest,
};

use crate::{
    common::{Cluster, http},
    peers::{NATIVE, Peer, STEP_MS, native, post, samples, write},
};

const SAMPLES_TYPE: &str = "application/x-protobuf";
/// `STREAMED_XOR_CHUNKS`
const STREAMED: i32 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_read_without_a_stream() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let cluster = Cluster::start(1, &[]).await;
    let ours = cluster.nodes[0].url("");
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    for base in [&prometheus.base, &ours] {
        write(base, &samples(now_ms)).await;
        post(base, &native(now_ms)).await;
    }
    let query = |kind: i32, name: &str, value: &str| Query {
        start_timestamp_ms: now_ms - 12 * STEP_MS,
        end_timestamp_ms: now_ms - 2 * STEP_MS,
        matchers: vec![
            LabelMatcher { kind: 2, name: "__name__".into(), value: format!("shape_.+|{NATIVE}") },
            LabelMatcher { kind, name: name.into(), value: value.into() },
        ],
    };
    let written = WriteRequest::decode(&*native(now_ms)).expect("a request");
    let written = written.timeseries[0].histograms[17..=27].iter();
    let written: Vec<_> = written.map(numbers).collect();
    let floats = query(0, "job", "b");
    let both = query(2, "__name__", &format!("shape_total|{NATIVE}"));
    let none = query(0, "job", "nobody");
    for (queries, accepted, series) in [
        (vec![floats.clone()], vec![], vec![1]),
        (vec![floats.clone(), none.clone(), both.clone()], vec![], vec![1, 0, 3]),
        // Where one is native, none is streamed.
        (vec![both], vec![STREAMED], vec![3]),
    ] {
        let request = ReadRequest { queries, accepted_response_types: accepted };
        let (kind, answer) = read(&ours, &request).await;
        assert_eq!(kind, SAMPLES_TYPE, "{request:?}");
        let answer = ReadResponse::decode(&*answer).expect("a response");
        let counts: Vec<_> = answer.results.iter().map(|one| one.timeseries.len()).collect();
        assert_eq!(counts, series, "{request:?}");
        let points = |one: &TimeSeries| one.samples.len() + one.histograms.len();
        assert!(answer.results.iter().flat_map(|r| &r.timeseries).all(|one| points(one) == 11));
        let plain = ReadRequest { accepted_response_types: vec![], ..request };
        let (_, expected) = read(&prometheus.base, &plain).await;
        let expected = ReadResponse::decode(&*expected).expect("a response");
        assert_eq!(floats_of(&answer), floats_of(&expected));
        for one in series_of(&answer).filter(|one| !one.histograms.is_empty()) {
            assert_eq!(one.histograms.iter().map(numbers).collect::<Vec<_>>(), written);
        }
    }
    let request = ReadRequest { queries: vec![floats], accepted_response_types: vec![STREAMED] };
    let (kind, _) = read(&ours, &request).await;
    assert!(kind.starts_with("application/x-streamed-protobuf"), "{kind}");
}

/// The type of the answer and its body, unpacked where it is packed.
async fn read(base: &str, request: &ReadRequest) -> (String, Vec<u8>) {
    let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("small");
    let answer = http::client()
        .post(format!("{base}/api/v1/read"))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Read-Version", "0.1.0")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    let header = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (kind, encoding) = (header("content-type"), header("content-encoding"));
    let body = answer.bytes().await.expect("a body");
    if encoding != "snappy" {
        return (kind, body.to_vec());
    }
    (kind, snap::raw::Decoder::new().decompress_vec(&body).expect("snappy"))
}

fn series_of(answer: &ReadResponse) -> impl Iterator<Item = &TimeSeries> {
    answer.results.iter().flat_map(|result| &result.timeseries)
}

/// A series: its labels, and its samples by time.
type Floats = (Vec<Label>, Vec<(i64, f64)>);

/// Labels and floats of all series.
fn floats_of(answer: &ReadResponse) -> Vec<Floats> {
    let floats = |one: &TimeSeries| one.samples.iter().map(|s| (s.timestamp, s.value)).collect();
    series_of(answer).map(|one| (one.labels.clone(), floats(one))).collect()
}

/// Time and numbers of a histogram, whole or not.
fn numbers(of: &Histogram) -> (i64, Vec<f64>) {
    let whole = |count: Option<u64>| count.map(|count| count as f64);
    let count = of.count_float.or(whole(of.count_int)).expect("a count");
    let zero = of.zero_count_float.or(whole(of.zero_count_int)).expect("a zero bucket");
    let mut numbers = vec![count, of.sum, f64::from(of.schema), of.zero_threshold, zero];
    for (spans, counts, deltas) in [
        (&of.negative_spans, &of.negative_counts, &of.negative_deltas),
        (&of.positive_spans, &of.positive_counts, &of.positive_deltas),
    ] {
        numbers.extend(spans.iter().flat_map(|s| [f64::from(s.offset), f64::from(s.length)]));
        numbers.extend(counts);
        numbers.extend(deltas.iter().scan(0, |sum, delta| {
            *sum += delta;
            Some(*sum as f64)
        }));
    }
    (of.timestamp, numbers)
}
