//! The real Prometheus: started, filled by remote write, asked.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;
use watchkeep_series::{Histogram, Points};

use crate::generate::Query;

#[path = "../../../../tests/common/ports.rs"]
mod ports;

/// Attempts to reach it, 50 ms apart.
const ATTEMPTS_MAX: u32 = 600;

/// Dropped, it is killed.
pub(crate) struct Prometheus {
    agent: Agent,
    base: String,
    process: Child,
    dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts one that holds these series.
    pub(crate) fn with(series: &[Points]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, "global: {evaluation_interval: 1m}\n").expect("its configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let log = File::create(dir.path().join("log")).expect("its log");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.retention.time=100y")
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        let agent = settings.build().into();
        let prometheus = Self { agent, base: format!("http://{address}"), process, dir };
        prometheus.wait_until_ready();
        for batch in series.chunks(50) {
            prometheus.write(batch);
        }
        prometheus
    }

    fn wait_until_ready(&self) {
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.agent.get(format!("{}/-/ready", self.base)).call();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("prometheus does not get ready:\n{log}");
    }

    fn write(&self, series: &[Points]) {
        let body = snap::raw::Encoder::new().compress_vec(&write_request(series)).expect("fits");
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/write", self.base))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .send(&body)
            .expect("an answer to a write");
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        assert!(answer.status().is_success(), "remote write: {} {text}", answer.status());
    }

    /// `data` of its answer, or its error.
    pub(crate) fn ask(&self, query: &Query) -> Result<Value, String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let text = query.text.replace("double_exponential_smoothing(", "holt_winters(");
        let (path, mut form) = match query.range {
            None => ("query", vec![("time", seconds(query.at_ms))]),
            Some((from_ms, step_ms)) => (
                "query_range",
                vec![
                    ("start", seconds(from_ms)),
                    ("end", seconds(query.at_ms)),
                    ("step", seconds(step_ms)),
                ],
            ),
        };
        form.push(("query", text));
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/{path}", self.base))
            .send_form(form.iter().map(|(name, value)| (*name, value.as_str())))
            .expect("an answer to a query");
        let body =
            answer.body_mut().with_config().limit(1 << 26).read_to_string().expect("its body");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
        }
    }
}

/// A remote-write request as protobuf: a list of series, each with labels and samples.
fn write_request(series: &[Points]) -> Vec<u8> {
    let mut request = Vec::new();
    for points in series {
        let mut one = Vec::new();
        for (name, value) in points.labels.iter() {
            let mut label = Vec::new();
            message(&mut label, 1, name.as_bytes());
            message(&mut label, 2, value.as_bytes());
            message(&mut one, 1, &label);
        }
        for sample in &points.floats {
            let mut encoded = vec![(1 << 3) | 1];
            encoded.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            encoded.push(2 << 3);
            varint(&mut encoded, sample.timestamp_ms as u64);
            message(&mut one, 2, &encoded);
        }
        for sample in &points.histograms {
            message(&mut one, 4, &histogram(&sample.value, sample.timestamp_ms));
        }
        message(&mut request, 1, &one);
    }
    request
}

/// A histogram with whole counts: 2.42 does not take others by remote write.
fn histogram(histogram: &Histogram, timestamp_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let number = |out: &mut Vec<u8>, field: u8, value: u64| {
        out.push(field << 3);
        varint(out, value);
    };
    let double = |out: &mut Vec<u8>, field: u8, value: f64| {
        out.push((field << 3) | 1);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    };
    number(&mut out, 1, histogram.count as u64);
    double(&mut out, 3, histogram.sum);
    number(&mut out, 4, zigzag(histogram.schema.into()));
    double(&mut out, 5, histogram.zero_threshold);
    number(&mut out, 6, histogram.zero_count as u64);
    for (field, spans, buckets) in [
        (8, &histogram.negative_spans, &histogram.negative_buckets),
        (11, &histogram.positive_spans, &histogram.positive_buckets),
    ] {
        for span in spans {
            let mut one = Vec::new();
            number(&mut one, 1, zigzag(span.offset.into()));
            number(&mut one, 2, span.length.into());
            message(&mut out, field, &one);
        }
        let mut deltas = Vec::new();
        let mut last = 0;
        for count in buckets {
            varint(&mut deltas, zigzag(*count as i64 - last));
            last = *count as i64;
        }
        message(&mut out, field + 1, &deltas);
    }
    number(&mut out, 15, timestamp_ms as u64);
    out
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn message(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push((field << 3) | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
