//! Samples for both sides: remote write requests, made while they are sent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::common::http;

/// Series in a request, as Prometheus sends them by default nowadays.
const SERIES_PER_REQUEST: usize = 2_000;

/// The series, their labels as they lie on the wire.
pub(crate) struct Load(Arc<Vec<Vec<u8>>>);

impl Load {
    /// Two series for each of `instances` of each service.
    pub(crate) fn new(series: u64, instances: u64) -> Self {
        let labels = (0..series).map(|n| {
            let (metric, instance) = (["errors_total", "requests_total"][n as usize % 2], n / 2);
            let service = instance / instances;
            let mut wire = Vec::new();
            for (name, value) in [
                ("__name__", metric.to_owned()),
                ("instance", format!("10.{}.{}.7:9100", service % 250, instance)),
                ("job", "node".to_owned()),
                ("service", format!("service-{service}")),
                ("version", format!("1.{}", service % 7)),
                ("zone", format!("zone-{}", instance % 3)),
            ] {
                let mut label = Vec::new();
                field(&mut label, 1, name.as_bytes());
                field(&mut label, 2, value.as_bytes());
                field(&mut wire, 1, &label);
            }
            wire
        });
        Self(Arc::new(labels.collect()))
    }

    /// Writes one sample of every series at each of the times; `clients` requests are under way at once, those of one
    /// series one after the other.
    pub(crate) async fn write(&self, url: &str, times: &[i64], clients: u64) {
        let requests = self.0.len().div_ceil(SERIES_PER_REQUEST);
        for time in times {
            let next = Arc::new(AtomicUsize::new(0));
            let workers = (0..clients).map(|_| {
                let (all, next, url, time) = (self.0.clone(), next.clone(), url.to_owned(), *time);
                tokio::spawn(async move {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= requests {
                            return;
                        }
                        send(&url, body(&all, at * SERIES_PER_REQUEST, time)).await;
                    }
                })
            });
            for worker in workers.collect::<Vec<_>>() {
                worker.await.expect("a client");
            }
        }
    }
}

async fn send(url: &str, body: Vec<u8>) {
    let request = http::client()
        .post(url)
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body);
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
}

fn body(all: &[Vec<u8>], from: usize, time_ms: i64) -> Vec<u8> {
    let to = all.len().min(from + SERIES_PER_REQUEST);
    let mut plain = Vec::with_capacity((to - from) * 256);
    for (n, labels) in (from as u64..).zip(&all[from..to]) {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value(n, time_ms).to_le_bytes());
        sample.push(2 << 3);
        varint(&mut sample, time_ms.cast_unsigned());
        let mut series = Vec::with_capacity(labels.len() + 32);
        series.extend_from_slice(labels);
        field(&mut series, 2, &sample);
        field(&mut plain, 1, &series);
    }
    snap::raw::Encoder::new().compress_vec(&plain).expect("below 4 GiB")
}

/// Counters: requests grow by about 50 a second, evenly random by a hundred around it; errors in a tenth of the steps.
fn value(series: u64, time_ms: i64) -> f64 {
    let tick = time_ms.cast_unsigned() / 10_000;
    let random = |tick: u64| {
        let x = (series << 32 ^ tick).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40
    };
    match series % 2 {
        // Rises, though the noise does not: it is smaller than a step.
        1 => (tick % 1_000_000 * 500 + random(tick) % 100) as f64,
        _ => (tick % 1_000_000 / 10 * 3 + series % 7) as f64,
    }
}

fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
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
