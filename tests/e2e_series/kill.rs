//! A node that takes samples by remote write is killed in the middle of it, again and again: what it acknowledged is there
//! afterwards, each sample once, and what it did not may be sent again. And one that scrapes loses the last second of what it
//! scraped, and no more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use watchkeep_collector::remote_write::encode;
use watchkeep_series::{Labels, Sample};

use crate::common::{Cluster, Node, eventually, http, wait::ensure};

const SOON: Duration = Duration::from_secs(60);
const KILLS: i64 = 8;
const WRITERS: i64 = 4;
/// Of each writer, all in one request.
const SERIES: i64 = 25;
const STEP_MS: i64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kills() {
    let mut cluster = Cluster::start(1, &[]).await;
    let node = &mut cluster.nodes[0];
    let begin_ms = chrono::Utc::now().timestamp_millis() - 3_600_000;
    let mut acknowledged: BTreeMap<i64, i64> = (0..WRITERS).map(|writer| (writer, 0)).collect();
    for kill in 0..KILLS {
        let taken = Arc::new(AtomicI64::new(0));
        let writers: Vec<_> = acknowledged
            .iter()
            .map(|(&writer, &from)| {
                let (url, taken) = (node.url("/api/v1/write"), Arc::clone(&taken));
                tokio::spawn(write(url, (writer, from), begin_ms, taken))
            })
            .collect();
        // At another moment each time.
        let enough = WRITERS * (2 + kill * 7 % 20);
        eventually("requests that are taken", SOON, async || {
            let taken = taken.load(Ordering::Relaxed);
            ensure(taken >= enough, || format!("{taken} of {enough}"))
        })
        .await;
        node.kill();
        for (writer, done) in (0..).zip(writers) {
            acknowledged.insert(writer, done.await.expect("the writer"));
        }
        node.start();
        // Samples are taken and told without the registry: nobody has to be elected first.
        node.ready_http().await;
        check(node, &acknowledged, begin_ms).await;
    }
    let all: i64 = acknowledged.values().sum();
    eprintln!("{} samples acknowledged through {KILLS} kills, all of them kept", all * SERIES);
}

/// Writes step after step until nobody answers; how many steps were acknowledged.
async fn write(
    url: String,
    (writer, from): (i64, i64),
    begin_ms: i64,
    taken: Arc<AtomicI64>,
) -> i64 {
    let labels: Vec<_> = (0..SERIES)
        .map(|n| {
            let (writer, n) = (writer.to_string(), n.to_string());
            Labels::new([("__name__", "ticks"), ("writer", &*writer), ("n", &*n)])
        })
        .collect();
    for step in from.. {
        let sample = Sample { timestamp_ms: begin_ms + step * STEP_MS, value: step as f64 };
        let batch: Vec<_> = labels.iter().map(|labels| (labels.clone(), sample)).collect();
        match http::send(http::client().post(&url).body(encode(&batch))).await {
            Ok((status, _)) if status == reqwest::StatusCode::NO_CONTENT => {}
            Ok((status, body)) => panic!("step {step} of {writer}: {status} {body}"),
            Err(_) => return step,
        }
        taken.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("a range without an end")
}

/// Every series has all steps that were acknowledged, in order and once; the one whose answer was lost, perhaps.
async fn check(node: &Node, acknowledged: &BTreeMap<i64, i64>, begin_ms: i64) {
    let time = (begin_ms / 1_000 + 2 * 3_600).to_string();
    let query = [("query", "ticks[3h]"), ("time", &time)];
    let answer = http::json(http::client().get(node.url("/api/v1/query")).query(&query)).await;
    let answer: Value = answer.expect("an answer");
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    assert_eq!(series.len() as i64, WRITERS * SERIES, "series");
    for one in series {
        let writer =
            one["metric"]["writer"].as_str().and_then(|w| w.parse().ok()).expect("a number");
        let points: Vec<(i64, i64)> =
            serde_json::from_value::<Vec<(f64, String)>>(one["values"].clone())
                .expect("points")
                .into_iter()
                .map(|(at, value)| {
                    ((at * 1e3).round() as i64, value.parse().expect("a whole number"))
                })
                .collect();
        let expected = (0..).map(|step| (begin_ms + step * STEP_MS, step));
        let is_whole = points.iter().copied().eq(expected.take(points.len()));
        assert!(is_whole, "a gap or a double in {}: {points:?}", one["metric"]);
        let (there, least) = (points.len() as i64, acknowledged[&writer]);
        assert!((least..=least + 1).contains(&there), "{there} of {least} in {}", one["metric"]);
    }
}
