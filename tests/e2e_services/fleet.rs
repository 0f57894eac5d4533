//! A fleet: instances registered and renewed by the list, each under a lease of its own; and those of services that
//! know nothing of Watchkeep, written by an ordinary etcd client.

use std::time::Duration;

use etcd_client::{Client, PutOptions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Cluster, Node, eventually, http, nginx::Nginx, wait::ensure};

/// Everything here happens within a second or two; a machine that is busy may need longer.
const SOON: Duration = Duration::from_secs(20);
/// Of the fleet's registrations.
const TTL_SECONDS: u64 = 4;

async fn put(url: &str, body: &Value) -> Value {
    let (status, text) = http::any(Method::PUT, url, Some(&body.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn ids(node: &Node, service: &str) -> Result<Vec<String>, String> {
    let url = node.url(&format!("/v1/services/{service}/instances?stale=true"));
    let answer = http::get(&url).await?;
    let all = answer["instances"].as_array().expect("instances").iter();
    Ok(all.map(|i| i["id"].as_str().expect("an id").to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_lives_by_its_own_heartbeat() {
    let cluster = Cluster::start(3, &[]).await;
    let [one, other] = [&cluster.nodes[0], &cluster.nodes[1]];
    let url = one.url("/v1/services/web/instances");
    let many: Vec<Value> = (0..250)
        .map(|n| json!({"id": format!("w{n}"), "address": "10.0.0.1", "port": 80}))
        .collect();
    let mut with_faults = many.clone();
    with_faults.push(json!({"id": "w7", "address": "10.0.0.1", "port": 80}));
    with_faults.push(json!({"id": "no port", "address": "10.0.0.1"}));
    with_faults.push(json!({"id": "x", "address": "", "port": 80}));
    let answer = put(&url, &json!({"ttl_seconds": TTL_SECONDS, "instances": with_faults})).await;
    assert_eq!(answer["registered"], 250, "{answer}");
    let errors = answer["errors"].as_array().expect("errors");
    let mut told: Vec<_> = errors.iter().map(|e| e["error"].as_str().expect("words")).collect();
    told.sort_unstable();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("address is empty") && told[1].contains("twice"), "{told:?}");
    assert!(told[2].contains("port"), "{told:?}");

    // Again, by another node: each has a new lease, the one before is given back and takes nothing with it.
    let again = put(
        &other.url("/v1/services/web/instances"),
        &json!({"ttl_seconds": TTL_SECONDS, "instances": many}),
    )
    .await;
    assert_eq!(again["registered"], 250, "{again}");

    // Heartbeats for all but the first fifty, on any node, until those have run out.
    let kept: Vec<Value> =
        (50..250).map(|n| json!({"service": "web", "id": format!("w{n}")})).collect();
    let beat = json!({"instances": kept});
    let mut at = 0;
    loop {
        at += 1;
        let node = &cluster.nodes[at % 3];
        let answer = http::post(&node.url("/v1/heartbeats"), &beat).await.expect("renewed");
        assert_eq!(answer, json!({"renewed": 200, "errors": []}));
        let left = ids(other, "web").await.expect("instances");
        assert!(left.len() >= 200, "{}", left.len());
        if left.len() == 200 {
            break;
        }
        assert!(at < 2_000, "{} are left", left.len());
    }
    let strange =
        json!({"instances": [{"service": "web", "id": "w60"}, {"service": "web", "id": "w1"}]});
    let answer = http::post(&one.url("/v1/heartbeats"), &strange).await.expect("an answer");
    assert_eq!(answer["renewed"], 1, "{answer}");
    assert_eq!(answer["errors"][0]["id"], "w1", "{answer}");
    let too_many = json!({"instances": vec![json!({"service": "s", "id": "i"}); 10_001]});
    let (status, body) =
        http::any(Method::POST, &one.url("/v1/heartbeats"), Some(&too_many.to_string())).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_knows_only_etcd_is_probed_and_found() {
    let dir = TempDir::new().expect("temporary folder");
    let nginx = Nginx::start(dir.path(), "web-1").await;
    let check = json!([{"name": "port", "interval_ms": 200, "timeout_ms": 1000, "rise": 1, "fall": 1, "tcp": {}}]);
    let foreign = json!([
        {"prefix": "/grpc/", "format": "grpc-endpoints", "checks": check},
        {"prefix": "/legacy/", "format": "host-port", "service": "old"},
    ]);
    let cluster = Cluster::start(1, &[("collector", json!({"foreign": foreign}))]).await;
    let node = &cluster.nodes[0];
    let mut etcd = Client::connect([&node.client], None).await.expect("connected");

    let lease = etcd.lease_grant(30, None).await.expect("granted").id();
    let address = format!("127.0.0.1:{}", nginx.port);
    // As gRPC-Go's naming/endpoints writes it.
    let endpoint = json!({"Op": 0, "Addr": address, "Metadata": {"zone": "eu", "version": "7"}});
    let leased = Some(PutOptions::new().with_lease(lease));
    let key = format!("/grpc/web/{address}");
    etcd.put(key.as_str(), endpoint.to_string(), leased).await.expect("put");
    etcd.put("/legacy/a", "10.0.0.9:81", None).await.expect("put");
    etcd.put("/legacy/b", "nowhere", None).await.expect("put");

    let url = node.url("/v1/services/web/instances");
    let found = eventually("it is probed and passes", SOON, async || {
        let answer = http::get(&url).await?;
        let first = answer["instances"][0].clone();
        let judged = first["status"] == "passing" && first["since"].is_string();
        ensure(judged, || answer.to_string()).map(|()| first)
    })
    .await;
    assert_eq!((&found["port"], &found["zone"]), (&json!(nginx.port), &json!("eu")), "{found}");
    assert_eq!(found["metadata"], json!({"version": "7", "watchkeep.foreign": key}));
    eventually("the other one is there, and what is wrong is shown", SOON, async || {
        ensure(ids(node, "old").await? == ["a"], || "not yet".to_owned())?;
        let state = http::get(&node.url("/v1/foreign")).await?;
        let legacy = &state["prefixes"][1];
        let told =
            legacy["problems"]["/legacy/b"].as_str().is_some_and(|p| p.contains("host:port"));
        ensure(told && legacy["instances"] == 1 && legacy["invalid"] == 1, || state.to_string())?;
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        let invalid = r#"watchkeep_collector_foreign_keys{prefix="/legacy/",state="invalid"} 1"#;
        ensure(page.contains(invalid), || "not counted".to_owned())
    })
    .await;

    // Deleted, it goes; and with its lease, at the same moment.
    etcd.delete("/legacy/a", None).await.expect("deleted");
    eventually("the deleted one is gone", SOON, async || {
        ensure(ids(node, "old").await?.is_empty(), || "still there".to_owned())
    })
    .await;
    etcd.lease_revoke(lease).await.expect("revoked");
    let left =
        etcd.get("/watchkeep/instances/web/", Some(etcd_client::GetOptions::new().with_prefix()));
    assert_eq!(left.await.expect("read").count(), 0);
}
