//! Samples: into the local store, and by remote write into every other alerting member's.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{extract::Request, middleware::Next, response::IntoResponse};
use http::StatusCode;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Status, keys};
use watchkeep_collector::{Metrics, keep_series, remote_write, write_router};
use watchkeep_series::{Labels, Matcher, Sample, SeriesStore};

use crate::{
    peer::Etcd,
    rig::{Rig, Service, store, wait_for},
};

fn labels(metric: &str) -> Labels {
    Labels::new([
        ("__name__", metric),
        ("service", "web"),
        ("instance", "a"),
        ("check", "tcp"),
        ("collector", "node-1"),
    ])
}

/// Waits until the store has samples of web's metric.
async fn samples(store: &SeriesStore, metric: &str) -> Vec<Sample> {
    let matchers = [
        Matcher::Equal("__name__".into(), metric.into()),
        Matcher::Equal("service".into(), "web".into()),
    ];
    wait_for(metric, || async {
        let mut found = store.select(&matchers, 0, i64::MAX).expect("select");
        assert!(found.len() <= 1, "{found:?}");
        let series = found.pop().filter(|series| series.samples.len() > 1)?;
        assert_eq!(series.labels, labels(metric));
        Some(series.samples)
    })
    .await
}

/// Serves a router; answers with its base URL.
async fn serve(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn they_reach_the_own_store_and_every_other_member() {
    let etcd = Etcd::start();
    let service = Service::start().await;
    let (other, _dir) = store();
    let metrics = Metrics::new(&Registry::new()).expect("registers");
    // The first request fails: it is sent again.
    let requests = Arc::new(AtomicU32::new(0));
    let counted = requests.clone();
    let flaky = axum::middleware::from_fn(move |request: Request, next: Next| {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            next.run(request).await
        }
    });
    let url = serve(write_router(other.clone(), metrics).layer(flaky)).await;
    let refusing = serve(axum::Router::new()).await;
    let own = "http://127.0.0.1:1";
    let rig = Rig::start(etcd.client(), Some(format!("{own}/")));
    for (id, url) in [("node-1", own), ("node-2", &url), ("node-3", &refusing)] {
        let member =
            format!(r#"{{"id":"{id}","url":"{url}","started_at":"2026-01-01T00:00:00Z"}}"#);
        rig.client.put(&keys::alerting_member(id), member, 0).await.expect("put");
    }
    let sent = |id: &str, result: &str| {
        format!(
            r#"watchkeep_collector_remote_write_samples_total{{receiver="{id}",result="{result}"}}"#
        )
    };
    let queue =
        |id: &str| format!(r#"watchkeep_collector_remote_write_queue_length{{receiver="{id}"}}"#);
    rig.put(service.port, r#"{"name":"tcp","interval_ms":50,"tcp":{}}"#).await;
    rig.opinion("tcp", Status::Passing).await;
    for store in [&rig.store, &other] {
        let success = samples(store, "probe_success").await;
        assert!(success.iter().all(|sample| sample.value == 1.0));
        let duration = samples(store, "probe_duration_seconds").await;
        assert!(duration.iter().all(|sample| sample.value > 0.0 && sample.value < 10.0));
        assert!(duration.windows(2).all(|w| w[0].timestamp_ms < w[1].timestamp_ms));
    }
    assert!(requests.load(Ordering::Relaxed) > 1);
    for (id, result) in [("node-2", "sent"), ("node-3", "refused")] {
        wait_for(result, || async { rig.metric(&sent(id, result)).filter(|n| *n > 0.0) }).await;
    }
    assert_eq!(rig.metric(&queue("node-1")), None, "not to ourselves");

    rig.client.delete(&keys::alerting_member("node-3")).await.expect("delete");
    // What it misses is kept for it, until it is back.
    let waits = || async { rig.metric(&queue("node-3")).filter(|n| *n > 4.0) };
    wait_for("samples that wait for node-3", waits).await;
    let (back, _back_dir) = store();
    let url = serve(write_router(back.clone(), Metrics::new(&Registry::new()).expect("one"))).await;
    let member = format!(r#"{{"id":"node-3","url":"{url}","started_at":"2026-01-01T00:00:00Z"}}"#);
    rig.client.put(&keys::alerting_member("node-3"), member, 0).await.expect("put");
    samples(&back, "probe_success").await;

    rig.stop.cancel();
    rig.running.await.expect("ends");
    assert_eq!(rig.store.stats().expect("stats").unlogged_samples, 0, "flushed at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_is_checked_and_kept() {
    let (store, _dir) = store();
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).expect("registers");
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keep_series(store.clone(), metrics.clone(), stop.clone()));
    let url = serve(write_router(store.clone(), metrics)).await + "/api/v1/write";
    // A bare client would need a process-wide crypto provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let now_ms = chrono::Utc::now().timestamp_millis();
    let good = remote_write::encode(&[(labels("up"), Sample { timestamp_ms: now_ms, value: 1.0 })]);
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (content_type, encoding, body, status, words) in [
        ("application/x-protobuf", "snappy", good.clone(), 204, ""),
        ("application/x-protobuf", "snappy", good.clone(), 204, ""),
        ("application/x-protobuf", "snappy", b"no".to_vec(), 400, "is not a snappy block"),
        ("application/x-protobuf", "gzip", good.clone(), 415, "only snappy"),
        (v2, "snappy", good, 415, "only remote write 1.0"),
        ("application/x-protobuf", "snappy", vec![0; (16 << 20) + 1], 413, "send at most 16777216"),
    ] {
        let request = client
            .post(&url)
            .header("content-type", content_type)
            .header("content-encoding", encoding)
            .body(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
        let text = answer.text().await.expect("a body");
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(store.select(&[], 0, i64::MAX).expect("select")[0].samples.len(), 1);
    wait_for("a flush", || async {
        (store.stats().expect("stats").unlogged_samples == 0).then_some(())
    })
    .await;
    stop.cancel();
    keeping.await.expect("ends");
}
