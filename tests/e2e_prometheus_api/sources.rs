//! One suite for every data source: Prometheus and VictoriaMetrics from outside, and a node's own API, behind which is the
//! embedded store. And an SLO report over a Prometheus.

use serde_json::json;
use tempfile::TempDir;
use watchkeep_alerting::source::{
    DataSourceConfig, External, QueryData, Recorded, Source, SourceError,
};

use crate::{
    SOON,
    common::{Cluster, eventually, http, nginx::Nginx, wait::ensure},
    peers::{Peer, STEP_MS},
};

fn external(base: &str) -> External {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = DataSourceConfig {
        url: base.to_owned(),
        remote_write_url: Some(format!("{base}/api/v1/write")),
        ..DataSourceConfig::default()
    };
    External::new(&config).expect("settings")
}

/// What every source has to do.
async fn suite(name: &str, source: &dyn Source, now_ms: i64) {
    let sample = |job: &str, at: i64| -> Recorded {
        let labels = [("__name__", "suite_total"), ("job", job)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        (labels, now_ms - (12 - at) * STEP_MS, (at * 10) as f64)
    };
    let all = (0..=12).flat_map(|at| ["a", "b"].map(|job| sample(job, at)));
    source.write(all.collect()).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let selector = r#"suite_total{job="a"}"#;
    let series = eventually(name, SOON, async || {
        let found = source.select(selector, now_ms - 12 * STEP_MS, now_ms).await;
        let found = found.map_err(|e| e.to_string())?;
        ensure(found.len() == 1 && found[0].samples.len() == 13, || format!("{found:?}"))?;
        Ok(found)
    })
    .await;
    assert_eq!(series[0].labels["job"], "a", "{name}");
    assert_eq!(series[0].samples[12], (now_ms, 120.0), "{name}");
    let some = source.select(selector, now_ms - 2 * STEP_MS, now_ms - STEP_MS).await.expect(name);
    assert_eq!(some[0].samples.len(), 2, "{name}: both ends are in it");

    let answer = source.query("sum(suite_total)", now_ms).await.expect(name);
    let rows = answer.into_rows(now_ms).expect("a vector");
    assert_eq!((rows[0].value.float(), rows[0].timestamp_ms), (Some(240.0), now_ms), "{name}");
    let scalar = source.query("1 + 1", now_ms).await.expect(name).into_rows(now_ms).expect("a row");
    assert_eq!(scalar[0].value.float(), Some(2.0), "{name}");
    let range = source.query_range("suite_total * 2", now_ms - 3 * STEP_MS, now_ms, STEP_MS).await;
    let QueryData::Matrix(rows) = range.expect(name).data else { panic!("{name}: no matrix") };
    assert_eq!((rows.len(), rows[0].points.len()), (2, 4), "{name}");
    assert_eq!(rows[0].points[3].1.float(), Some(240.0), "{name}");

    let wrong = source.query("sum(", now_ms).await.expect_err(name);
    assert!(
        matches!(wrong, SourceError::Expression { .. } | SourceError::Evaluation { .. }),
        "{name}: {wrong}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_does_the_same() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let victoria = Peer::victoria(dir.path()).await;
    let cluster = Cluster::start(1, &[]).await;
    let now_ms = chrono::Utc::now().timestamp_millis() / STEP_MS * STEP_MS;
    let own = cluster.nodes[0].url("");
    for (name, base) in
        [("Prometheus", &prometheus.base), ("VictoriaMetrics", &victoria.base), ("Watchkeep", &own)]
    {
        suite(name, &external(base), now_ms).await;
    }
    let many = external(&prometheus.base).query("suite_total + on () suite_total", now_ms).await;
    assert!(matches!(many, Err(SourceError::Evaluation { .. })), "{many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_slo_report_over_a_prometheus() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Peer::prometheus(dir.path(), "").await;
    let nginx = Nginx::start(dir.path(), "web-1").await;
    let write = format!("{}/api/v1/write", prometheus.base);
    let queue = json!({"batch_send_deadline_ms": 100});
    let collector = json!({"remote_write": [{"name": "outside", "url": write, "queue": queue}]});
    let alerting = json!({"data_source": {"url": prometheus.base, "remote_write_url": write}});
    let cluster = Cluster::start(1, &[("collector", collector), ("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port,
        "checks": [{"name": "home", "interval_ms": 200, "timeout_ms": 200, "http": {}}],
    });
    node.register("web", &instance).await;
    eventually("a report over Prometheus's samples", SOON, async || {
        let report = http::get(&node.url("/v1/slo/web")).await?;
        let probes = report["windows"][0]["probes"]["total"].as_u64();
        ensure(probes > Some(5), || report.to_string())
    })
    .await;
}
