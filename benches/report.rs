//! SLO reports over thirty days of probes each ten seconds: what the first one costs, and what the others do. A verdict: a
//! list of all services and a report in detail each answer within 100 ms at the 99th percentile.
//!
//! `cargo xtask bench report [--services 1000] [--days 30] [--hours 24] [--rounds 200]`
//!
//! The days are in the registry as the leader of those days wrote them; the last hours are raw samples, by remote write.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Cluster, Node, cluster::encode, eventually, http, wait::ensure};

/// The promise.
const LIMIT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(1_200);
/// Between two probes.
const INTERVAL_MS: i64 = 10_000;
/// Puts in one transaction.
const PUTS: usize = 60;

fn main() -> ExitCode {
    let option = |flag: &str, default: i64| {
        let mut args = std::env::args().skip_while(|arg| arg != flag);
        args.nth(1).map_or(default, |value| {
            value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number"))
        })
    };
    let (services, days) = (option("--services", 1_000), option("--days", 30));
    let (hours, rounds) = (option("--hours", 24), option("--rounds", 200));
    println!(
        "{services} services, {days} days of a probe every 10 s, the last {hours} h as raw samples"
    );
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if runtime.block_on(measure(services, days, hours, rounds)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn measure(services: i64, days: i64, hours: i64, rounds: i64) -> bool {
    let mut cluster = Cluster::start(1, &[]).await;
    let began = Instant::now();
    write_days(&cluster.nodes[0], services, days).await;
    write_samples(&cluster.nodes[0], services, hours).await;
    println!("history written in {:.0} s", began.elapsed().as_secs_f64());

    // What a node has counted before is gone when it starts again.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.ready().await;
    let node = &cluster.nodes[0];
    // The node counts in the order of names: the last one is asked for before it is counted.
    let last = node.url(&format!("/v1/slo/{}/report?window={days}d", name(services - 1)));
    let began = Instant::now();
    let first = eventually("the first report", LONG, async || {
        let asked = Instant::now();
        let report = http::json(http::client().get(&last).timeout(LONG)).await?;
        Ok((asked.elapsed(), report))
    })
    .await;
    let probes = first.1["probes"]["total"].as_i64().unwrap_or_default();
    println!("the first report: {:.0} ms, of {probes} probes", first.0.as_secs_f64() * 1e3);
    assert!(probes >= (days - 1) * 8_640, "{}", first.1);
    let all = node.url("/v1/slo?window=30d");
    eventually("all are counted", LONG, async || {
        let asked = Instant::now();
        http::text(http::client().get(&all).timeout(LONG)).await?;
        ensure(asked.elapsed() < Duration::from_secs(1), || format!("{:?}", asked.elapsed()))
    })
    .await;
    println!("all {services} counted {:.1} s after the start", began.elapsed().as_secs_f64());
    println!("{:.0} MiB resident", resident_mib(node).await);

    let mut good = true;
    let mut lists = Vec::new();
    for _ in 0..rounds {
        lists.push(time(&all).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    good &= verdict("list of all services over 30 days", lists);
    let mut details = Vec::new();
    for n in 0..services {
        details.push(time(&node.url(&format!("/v1/slo/{}/report?window={days}d", name(n)))).await);
    }
    good &= verdict("report in detail, each service once", details);
    let page = node.url(&format!("/v1/slo/{}/report?window={days}d&format=html", name(0)));
    let mut pages = Vec::new();
    for _ in 0..rounds {
        pages.push(time(&page).await);
    }
    good & verdict("the same as a page", pages)
}

fn name(n: i64) -> String {
    format!("service-{n:05}")
}

async fn time(url: &str) -> Duration {
    let began = Instant::now();
    let request = http::client().get(url).timeout(LONG);
    http::text(request).await.expect("an answer");
    began.elapsed()
}

fn verdict(what: &str, mut times: Vec<Duration>) -> bool {
    times.sort();
    let at = |share: f64| {
        times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1]
    };
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (p50, p99, worst) = (at(0.5), at(0.99), at(1.0));
    let good = p99 <= LIMIT;
    println!(
        "{}: {what}: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms, {} times",
        if good { "ok" } else { "NOT OK" },
        ms(p50),
        ms(p99),
        ms(worst),
        times.len()
    );
    good
}

async fn resident_mib(node: &Node) -> f64 {
    let page = http::text(http::client().get(node.url("/metrics"))).await.unwrap_or_default();
    let bytes = page.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
    bytes.and_then(|b| b.trim().parse::<f64>().ok()).unwrap_or_default() / 1_048_576.0
}

/// Each service's days before today, as a leader writes them: one short fault a day.
async fn write_days(node: &Node, services: i64, days: i64) {
    let today = Utc::now().date_naive();
    let mut puts: Vec<Value> = Vec::new();
    for n in 0..services {
        for back in 1..=days {
            let day = today - TimeDelta::days(back);
            let mut hours = vec![json!({"total": 360, "good": 360, "fast": 360}); 24];
            hours[usize::try_from(n % 24).expect("small")] =
                json!({"total": 360, "good": 358, "fast": 357});
            let start = day
                .and_hms_opt(u32::try_from(n % 24).expect("small"), 7, 0)
                .expect("a time")
                .and_utc();
            let latency: Vec<_> = (180..220).map(|bucket| json!([bucket, 216])).collect();
            let record = json!({
                "service": name(n), "day": day, "hours": hours, "latency": latency,
                "downtimes": [{"start": start, "end": start + TimeDelta::seconds(20), "cause": {"reason": "tcp: refused"}}],
                "updated_at": start,
            });
            let key = encode(&format!("/watchkeep/slo/{}/{day}", name(n)));
            puts.push(json!({"request_put": {"key": key, "value": encode(&record.to_string())}}));
        }
    }
    for puts in puts.chunks(PUTS) {
        node.v3("kv/txn", &json!({"success": puts})).await.expect("written");
    }
}

/// Each service's probes of the last hours.
async fn write_samples(node: &Node, services: i64, hours: i64) {
    let url = node.url("/api/v1/write");
    let now = Utc::now().timestamp_millis() / INTERVAL_MS * INTERVAL_MS;
    let times: Vec<i64> = (1..hours * 360).rev().map(|n| now - n * INTERVAL_MS).collect();
    for n in 0..services {
        let mut request = Vec::new();
        for (metric, value) in [("probe_success", 1.0_f64), ("probe_duration_seconds", 0.012)] {
            let mut series = Vec::new();
            let labels = [
                ("__name__", metric.to_owned()),
                ("check", "http".to_owned()),
                ("collector", "node-1".to_owned()),
                ("instance", format!("{}-1", name(n))),
                ("service", name(n)),
            ];
            for (label, value) in labels {
                let mut pair = Vec::new();
                field(&mut pair, 1, label.as_bytes());
                field(&mut pair, 2, value.as_bytes());
                field(&mut series, 1, &pair);
            }
            for time in &times {
                let mut sample = vec![1 << 3 | 1];
                sample.extend(value.to_le_bytes());
                sample.push(2 << 3);
                varint(&mut sample, u64::try_from(*time).expect("after 1970"));
                field(&mut series, 2, &sample);
            }
            field(&mut request, 1, &series);
        }
        let body = snap::raw::Encoder::new().compress_vec(&request).expect("small");
        let request = http::client()
            .post(&url)
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body);
        http::text(request).await.expect("taken");
    }
}

/// A field of protobuf that has a length.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
