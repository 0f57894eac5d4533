//! Schedule and flap damping, seen from outside: through checks as they are registered, opinions and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use axum::{Router, http::StatusCode};
use chrono::TimeDelta;
use tokio::net::TcpListener;
use watchkeep_catalog::{Opinion, Status, keys};
use watchkeep_collector::CollectorConfig;

use crate::{
    peer::Etcd,
    rig::{Rig, Service, wait_for},
};

/// A service that accepts connections and says nothing.
async fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_edge_probes_come_faster() {
    let (etcd, mut service) = (Etcd::start(), Service::start().await);
    let rig = Rig::start(etcd.client(), None);
    let check =
        r#"{"name":"tcp","interval_ms":2000,"edge_interval_ms":50,"fall":5,"rise":5,"tcp":{}}"#;
    rig.put(service.port, check).await;
    rig.opinion("tcp", Status::Passing).await;
    service.shut().await;
    let (_, opinion) = rig.opinion("tcp", Status::Critical).await;
    let took = opinion.since - opinion.first_seen;
    assert!(took < TimeDelta::seconds(2), "four more intervals would be 8 s, not {took}");
    service.open().await;
    let (_, opinion) = rig.opinion("tcp", Status::Passing).await;
    let took = opinion.since - opinion.first_seen;
    assert!(took < TimeDelta::seconds(2), "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_overlap_when_the_timeout_is_longer_than_the_interval() {
    let (etcd, (_listener, port)) = (Etcd::start(), silent().await);
    let rig = Rig::start(etcd.client(), None);
    rig.put(port, r#"{"name":"http","interval_ms":500,"timeout_ms":2000,"fall":3,"http":{}}"#)
        .await;
    let (_, opinion) = rig.opinion("http", Status::Critical).await;
    let took = opinion.since - opinion.first_seen;
    // 2 s for the first, then one each half second; one after the other it would be 6 s.
    assert!(took < TimeDelta::milliseconds(4_500), "{took}");
    // A busy machine may stand still for a moment.
    let missed = rig.metric("watchkeep_collector_missed_runs_total");
    assert!(missed.is_some_and(|n| n <= 2.0), "{missed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_does_not_silence_the_others() {
    let (etcd, service, (_listener, port)) =
        (Etcd::start(), Service::start().await, silent().await);
    let config = CollectorConfig { probes_max: 2, ..CollectorConfig::default() };
    let rig = Rig::start_as("node-1", "a", config, etcd.client(), None);
    for n in 0..20 {
        let record = format!(
            r#"{{"id":"slow-{n}","address":"127.0.0.1","port":{port},"checks":[{{"name":"http","interval_ms":1000,"timeout_ms":500,"http":{{}}}}]}}"#
        );
        let key = keys::instance("slow", &format!("slow-{n}"));
        rig.client.put(&key, record, 0).await.expect("put");
    }
    let shed = || async { rig.metric("watchkeep_collector_shed_runs_total").filter(|n| *n > 5.0) };
    wait_for("runs that are shed", shed).await;
    rig.put(service.port, r#"{"name":"tcp","interval_ms":1000,"tcp":{}}"#).await;
    rig.opinion("tcp", Status::Passing).await;
    let good = r#"watchkeep_collector_probes_total{kind="tcp",result="success"}"#;
    wait_for("its turns", || async { rig.metric(good).filter(|n| *n >= 4.0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flaps_says_so_and_becomes_passing_when_it_is_calm() {
    let etcd = Etcd::start();
    let (asked, calm) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    // Two failures, one success, and so on, until it is calm.
    let judge = {
        let calm = calm.clone();
        move || async move {
            let at = asked.fetch_add(1, Ordering::Relaxed);
            if calm.load(Ordering::Relaxed) || at % 3 == 2 {
                StatusCode::OK
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    };
    let app = Router::new().fallback(judge);
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    let rig = Rig::start(etcd.client(), None);
    rig.put(port, r#"{"name":"http","interval_ms":50,"flap":{"high_percent":40},"http":{}}"#).await;
    let key = keys::opinion("web", "a", "http", "node-1");
    let flaps = async |expected: bool| {
        wait_for("flapping", || async {
            let opinion: Opinion = rig.get(&key).await?.json().expect("an opinion");
            (opinion.flapping == expected).then_some(opinion)
        })
        .await
    };
    let opinion = flaps(true).await;
    assert!(opinion.reason.starts_with("flapping ("), "{}", opinion.reason);
    assert_eq!(rig.metric("watchkeep_collector_targets_flapping"), Some(1.0));
    rig.opinion("http", Status::Critical).await;
    calm.store(true, Ordering::Relaxed);
    let (_, opinion) = rig.opinion("http", Status::Passing).await;
    assert!(!opinion.flapping);
    assert_eq!(rig.metric("watchkeep_collector_targets_flapping"), Some(0.0));
}
