//! Dashboards and alerts made for etcd find their metrics here: the expressions of etcd's mixin and of Grafana's dashboard
//! 3070, by the metrics they are about, asked of a real Prometheus that scrapes three nodes at work; and every name of a
//! real etcd.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::common::{
    Cluster, etcd::Etcd, etcdctl, eventually, http, prometheus::Prometheus, wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);

/// What the alerts of etcd's mixin look at, and what its dashboard and 3070 show. `$r` is a range.
const EXPRESSIONS: [&str; 42] = [
    // alerts
    "etcd_network_peer_sent_failures_total",
    "etcd_server_has_leader == 1",
    "increase(etcd_server_leader_changes_seen_total[$r])",
    "sum(rate(grpc_server_handled_total{grpc_code=~\"OK|Unknown\"}[$r])) by (instance, grpc_service, grpc_method)",
    "histogram_quantile(0.99, sum(rate(grpc_server_handling_seconds_bucket{grpc_type=\"unary\"}[$r])) without (grpc_type))",
    "histogram_quantile(0.99, rate(etcd_network_peer_round_trip_time_seconds_bucket[$r]))",
    "rate(etcd_server_proposals_failed_total[$r])",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[$r]))",
    "histogram_quantile(0.99, rate(etcd_disk_backend_commit_duration_seconds_bucket[$r]))",
    "last_over_time(etcd_mvcc_db_total_size_in_bytes[$r]) / last_over_time(etcd_server_quota_backend_bytes[$r]) * 100 < 95",
    "last_over_time(etcd_mvcc_db_total_size_in_use_in_bytes[$r]) / last_over_time(etcd_mvcc_db_total_size_in_bytes[$r])",
    "etcd_server_is_leader",
    "etcd_server_is_learner",
    "rate(etcd_server_heartbeat_send_failures_total[$r])",
    "rate(etcd_server_slow_apply_total[$r])",
    "rate(etcd_server_slow_read_indexes_total[$r])",
    "rate(etcd_server_read_indexes_failed_total[$r])",
    "rate(etcd_server_health_failures[$r])",
    // dashboards
    "sum(rate(grpc_server_started_total{grpc_type=\"unary\"}[$r]))",
    "sum(grpc_server_started_total{grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"})",
    "etcd_debugging_mvcc_db_total_size_in_bytes",
    "rate(etcd_disk_wal_write_bytes_total[$r])",
    "process_resident_memory_bytes",
    "rate(etcd_network_client_grpc_received_bytes_total[$r]) > 0",
    "rate(etcd_network_client_grpc_sent_bytes_total[$r]) > 0",
    "sum(rate(etcd_network_peer_received_bytes_total[$r])) by (instance) > 0",
    "sum(rate(etcd_network_peer_sent_bytes_total[$r])) by (instance) > 0",
    "etcd_server_proposals_pending",
    "rate(etcd_server_proposals_committed_total[$r])",
    "rate(etcd_server_proposals_applied_total[$r])",
    "rate(etcd_mvcc_put_total[$r]) > 0",
    "rate(etcd_debugging_mvcc_range_total[$r]) > 0",
    "etcd_mvcc_delete_total + etcd_mvcc_txn_total > 0",
    "etcd_debugging_mvcc_keys_total > 0",
    "etcd_debugging_mvcc_watcher_total + etcd_debugging_mvcc_watch_stream_total > 0",
    "etcd_debugging_mvcc_slow_watcher_total + etcd_debugging_mvcc_pending_events_total",
    "etcd_debugging_mvcc_current_revision - etcd_debugging_mvcc_compact_revision > 0",
    "etcd_debugging_lease_granted_total + etcd_debugging_lease_revoked_total + etcd_debugging_lease_renewed_total > 0",
    "sum(etcd_network_active_peers) == 4",
    "sum(etcd_network_known_peers) by (Local) == 2",
    "os_fd_used / os_fd_limit < 0.9",
    "count(etcd_server_id == 1) + count(etcd_server_version{server_version=~\"3[.].*\"}) + count(etcd_cluster_version) == 9",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_etcds_dashboards_ask_for_is_there() {
    let dir = TempDir::new().expect("temporary folder");
    let cluster = Cluster::start(3, &[]).await;
    let endpoints = cluster.endpoints();
    let prometheus = Prometheus::start(dir.path(), &cluster.nodes).await;
    for at in 0..20 {
        let key = format!("/jobs/{}", at % 4);
        etcdctl::ok(&endpoints, &["put", &key, "value"]);
        etcdctl::ok(&endpoints, &["get", "--prefix", "/jobs/"]);
    }
    etcdctl::ok(&endpoints, &["del", "/jobs/1"]);
    etcdctl::ok_with(&endpoints, &["txn"], "mod(\"/jobs/2\") > \"0\"\n\nput /jobs/2 again\n\n\n");
    etcdctl::ok(&endpoints, &["compact", "5"]);
    for expression in EXPRESSIONS {
        let expression = expression.replace("$r", "30s");
        eventually(&expression, SOON, async || {
            // Whatever was measured in between counts: most of the work above is done once.
            etcdctl::ok(&endpoints, &["put", "/jobs/0", "value"]);
            let asked = [("query", expression.as_str())];
            let found = prometheus.get("query", &asked).await?;
            let series = found["result"].as_array().map_or(0, Vec::len);
            ensure(series > 0, || format!("no data: {found}"))
        })
        .await;
    }
}

/// A node's own rooms ask the member in their process by calls: those are counted, and no byte of them goes over a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_rooms_need_no_connection() {
    let cluster = Cluster::start(1, &[]).await;
    let node = &cluster.nodes[0];
    let read = async || {
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        let sum = |name: &str| {
            let lines = page.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        let received = sum("etcd_network_client_grpc_received_bytes_total");
        Ok::<_, String>((sum("grpc_server_started_total"), received))
    };
    let (calls, bytes) = read().await.expect("a page");
    let instance = json!({"id": "a", "address": "127.0.0.1", "port": 1, "checks": [{"name": "c", "interval_ms": 200, "tcp": {}}]});
    http::post(&node.url("/v1/services/s/instances"), &instance).await.expect("registered");
    eventually("calls of the rooms", SOON, async || {
        let (now, received) = read().await?;
        ensure(now >= calls + 5.0, || format!("{calls} calls, then {now}"))?;
        ensure(received - bytes < 1.0, || format!("{bytes} bytes received, then {received}"))
    })
    .await;
}

/// What etcd has and Watchkeep leaves out; a star stands for whatever follows. `docs/etcd-differences.md` says why.
const ABSENT: [&str; 14] = [
    "etcd_debugging_disk_backend_commit_*",
    "etcd_debugging_mvcc_db_compaction_*",
    "etcd_debugging_mvcc_index_compaction_*",
    "etcd_debugging_snap_*",
    "etcd_debugging_store_*",
    "etcd_disk_backend_defrag_*",
    "etcd_disk_defrag_inflight",
    "etcd_grpc_proxy_*",
    "etcd_mvcc_db_open_read_transactions",
    "etcd_server_go_version",
    "etcd_snap_*",
    "go_*",
    "process_virtual_memory_max_bytes",
    "promhttp_*",
];
/// Counters here, as their names say; gauges in etcd.
const COUNTERS: [&str; 3] = [
    "etcd_disk_wal_write_bytes_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
];

/// The names on a metrics page and their types.
async fn types(endpoint: &str) -> BTreeMap<String, String> {
    let page = http::text(http::client().get(format!("http://{endpoint}/metrics"))).await;
    let page = page.expect("a page");
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Every name that a real etcd shows is there with its type, or on the list of those left out; and that list is no longer
/// than it must be.
#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_there_or_left_out_for_a_reason() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let etcd = Etcd::start(cluster.dir()).await;
    let at = &cluster.nodes[0].client;
    for endpoint in [at, &etcd.client] {
        etcdctl::ok(endpoint, &["put", "k", "v"]);
        etcdctl::ok(endpoint, &["del", "none"]);
        etcdctl::ok(endpoint, &["endpoint", "hashkv"]);
        let watch = ["watch", "k", "--rev", "1", "--", "sh", "-c", "kill -TERM $PPID"];
        // It ends itself with the first event.
        etcdctl::run(endpoint, &watch, "");
    }
    let (ours, theirs) = (types(at).await, types(&etcd.client).await);
    let stands_for = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    let reasons = include_str!("../../docs/etcd-differences.md");
    for pattern in ABSENT {
        let left_out = theirs.keys().filter(|name| stands_for(pattern, name));
        let there: Vec<_> = left_out.clone().filter(|name| ours.contains_key(*name)).collect();
        assert!(left_out.count() > 0, "{pattern}: etcd has none of them");
        assert!(there.is_empty(), "{pattern} stands for {there:?}, which are there");
        assert!(reasons.contains(&format!("`{pattern}`")), "docs/etcd-differences.md: {pattern}");
    }
    for (name, kind) in theirs {
        if ABSENT.iter().any(|pattern| stands_for(pattern, &name)) {
            continue;
        }
        let kind = if COUNTERS.contains(&name.as_str()) { "counter".to_owned() } else { kind };
        assert_eq!(ours.get(&name), Some(&kind), "{name}");
    }
    let page = http::text(http::client().get(format!("http://{at}/metrics"))).await;
    let page = page.expect("a page");
    // At least: the member's own rooms watch, too.
    for (counted, at_least) in [
        (
            r#"grpc_server_msg_received_total{grpc_method="DeleteRange",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
            1,
        ),
        (
            r#"grpc_server_msg_sent_total{grpc_method="DeleteRange",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#,
            1,
        ),
        (
            r#"grpc_server_msg_received_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#,
            1,
        ),
        // That there is a watcher, and its event.
        (
            r#"grpc_server_msg_sent_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}"#,
            2,
        ),
        ("etcd_mvcc_hash_rev_duration_seconds_count", 1),
    ] {
        let value =
            page.lines().find_map(|line| line.strip_prefix(counted)?.trim().parse::<u64>().ok());
        assert!(value >= Some(at_least), "{counted} is {value:?}, not {at_least}:\n{page}");
    }
}
