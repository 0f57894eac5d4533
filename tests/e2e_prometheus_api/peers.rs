//! The programs on the other side, and the samples that both sides hold.

use std::{fs, path::Path, process::Command};

use prost::Message;
use serde_json::Value;
use watchkeep_catalog::prompb;
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use crate::{
    SOON,
    common::{eventually, http, ports, process::Process, wait::ensure},
};

/// Between two samples.
pub(crate) const STEP_MS: i64 = 10_000;

/// A program with an HTTP door. Dropped, it is killed.
pub(crate) struct Peer {
    pub(crate) base: String,
    _process: Process,
}

impl Peer {
    /// A Prometheus that scrapes nothing and takes remote write, native histograms, too.
    pub(crate) async fn prometheus(dir: &Path, configuration: &str) -> Self {
        let dir = dir.join("prometheus");
        fs::create_dir_all(&dir).expect("Prometheus's folder");
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration).expect("Prometheus's configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--web.enable-remote-write-receiver");
        command.arg("--enable-feature=native-histograms");
        let process = Process::spawn("prometheus", command, &dir.join("log"));
        Self::ready(format!("http://{address}"), process, "/-/ready").await
    }

    /// A VictoriaMetrics that shows at once what it takes.
    pub(crate) async fn victoria(dir: &Path) -> Self {
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-storageDataPath={}", dir.join("victoria").display()));
        command.arg(format!("-httpListenAddr={address}"));
        command.args(["-search.latencyOffset=0s", "-memory.allowedBytes=64MB"]);
        let process = Process::spawn("victoria-metrics", command, &dir.join("victoria.log"));
        Self::ready(format!("http://{address}"), process, "/health").await
    }

    /// Any program whose door is at `base`.
    pub(crate) async fn ready(base: String, process: Process, path: &str) -> Self {
        let url = format!("{base}{path}");
        eventually(&url, SOON, async || http::text(http::client().get(&url)).await).await;
        Self { base, _process: process }
    }
}

/// The samples: a counter for each of two jobs, a gauge with odd values, and a classic histogram.
pub(crate) fn samples(to_ms: i64) -> Vec<(Labels, Sample)> {
    let mut all = Vec::new();
    for at in 0..30 {
        let timestamp_ms = to_ms - (29 - at) * STEP_MS;
        let mut add = |pairs: &[(&str, &str)], value| {
            all.push((Labels::new(pairs.iter().copied()), Sample { timestamp_ms, value }));
        };
        let n = at as f64;
        add(&[("__name__", "shape_total"), ("job", "a")], n * 3.0);
        add(&[("__name__", "shape_total"), ("job", "b"), ("path", "/\"x\"\\é")], n * 1e6);
        let odd = [f64::NAN, f64::INFINITY, 1e-7, 1e21, -0.5][at as usize % 5];
        add(&[("__name__", "shape_gauge")], odd);
        for (le, share) in [("0.1", 1.0), ("1", 2.0), ("+Inf", 4.0)] {
            add(&[("__name__", "shape_seconds_bucket"), ("le", le)], n * share);
        }
    }
    all
}

/// The native histogram of [`native`].
pub(crate) const NATIVE: &str = "native_seconds";

/// A remote-write request with a native histogram that grows, on both sides of zero and with a gap between its buckets. Their
/// bounds are powers of two, which all write alike.
pub(crate) fn native(to_ms: i64) -> Vec<u8> {
    let span = |offset: i32, length: u32| prompb::BucketSpan { offset, length };
    let histogram = |at: i64| {
        let n = at.unsigned_abs() + 1;
        prompb::Histogram {
            count_int: Some(12 * n),
            sum: 18.5 * n as f64,
            zero_threshold: 0.125,
            zero_count_int: Some(2 * n),
            negative_spans: vec![span(0, 1)],
            negative_deltas: vec![n as i64],
            // Counts of n, 3 n, and 5 n behind a gap.
            positive_spans: vec![span(0, 2), span(2, 1)],
            positive_deltas: vec![n as i64, 2 * n as i64, 2 * n as i64],
            timestamp: to_ms - (29 - at) * STEP_MS,
            ..prompb::Histogram::default()
        }
    };
    let label = |name: &str, value: &str| prompb::Label { name: name.into(), value: value.into() };
    let series = prompb::TimeSeries {
        labels: vec![label("__name__", NATIVE), label("job", "a")],
        samples: vec![],
        histograms: (0..30).map(histogram).collect(),
    };
    prompb::WriteRequest { timeseries: vec![series] }.encode_to_vec()
}

/// Sends a remote-write request.
pub(crate) async fn post(base: &str, plain: &[u8]) {
    send(base, snap::raw::Encoder::new().compress_vec(plain).expect("below 4 GiB")).await;
}

async fn send(base: &str, packed: Vec<u8>) {
    let request = http::client()
        .post(format!("{base}/api/v1/write"))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(packed);
    let (status, text) = http::send(request).await.expect("an answer");
    assert!(status.is_success(), "{base}: {status} {text}");
}

/// Sends samples to `base` and waits until all are there to be asked for.
pub(crate) async fn write(base: &str, samples: &[(Labels, Sample)]) {
    send(base, encode(samples)).await;
    let last = samples.iter().map(|(_, s)| s.timestamp_ms).max().unwrap_or(0).to_string();
    eventually("what was written", SOON, async || {
        let time = format!("{}.{}", &last[..last.len() - 3], &last[last.len() - 3..]);
        let query = [("query", "count({__name__=~\"shape_.+\"})"), ("time", &time)];
        let answer = get(base, "/api/v1/query", &query).await?;
        ensure(answer["data"]["result"][0]["value"][1] == "6", || answer.to_string())
    })
    .await;
}

/// An answer, whatever its status.
pub(crate) async fn asked(
    base: &str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<(u16, Value), String> {
    let (status, text) =
        http::send(http::client().get(format!("{base}{path}")).query(query)).await?;
    let json = serde_json::from_str(&text).map_err(|e| format!("{path}: {e}: {text}"))?;
    Ok((status.as_u16(), json))
}

/// A good answer.
pub(crate) async fn get(base: &str, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
    let (status, json) = asked(base, path, query).await?;
    ensure(status == 200, || format!("{path}: {status} {json}"))?;
    Ok(json)
}
