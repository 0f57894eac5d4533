//! Dashboards and alerts made for etcd find their metrics here: the expressions of etcd's mixin and of Grafana's dashboard
//! 3070, by the metrics they are about, asked of a real Prometheus that scrapes three nodes at work.

use std::time::Duration;

use tempfile::TempDir;

mod common;
use common::{Cluster, etcdctl, eventually, prometheus::Prometheus, wait::ensure};

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
        let key = format!("/work/{}", at % 4);
        etcdctl::ok(&endpoints, &["put", &key, "value"]);
        etcdctl::ok(&endpoints, &["get", "--prefix", "/work/"]);
    }
    etcdctl::ok(&endpoints, &["del", "/work/1"]);
    etcdctl::ok_with(&endpoints, &["txn"], "mod(\"/work/2\") > \"0\"\n\nput /work/2 again\n\n\n");
    etcdctl::ok(&endpoints, &["compact", "5"]);
    for expression in EXPRESSIONS {
        let expression = expression.replace("$r", "30s");
        eventually(&expression, SOON, async || {
            // Whatever was measured in between counts: the work above is done once.
            let asked = [("query", expression.as_str())];
            let found = prometheus.get("query", &asked).await?;
            let series = found["result"].as_array().map_or(0, Vec::len);
            ensure(series > 0, || format!("no data: {found}"))
        })
        .await;
    }
}
