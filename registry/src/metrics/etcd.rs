//! Further metrics of etcd's that have a meaning here, so that its dashboards and alerts work unchanged. What has none (bbolt's,
//! the v2 store's, the proxy's) is not made up: docs/etcd-differences.md lists it.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    Result,
    declare::{Declare, LATENCY},
};

/// What each names, in etcd's words or close to them.
pub(crate) struct Etcd {
    // etcd_server_*
    pub(crate) id: IntGaugeVec,
    pub(crate) version: IntGaugeVec,
    pub(crate) cluster_version: IntGaugeVec,
    pub(crate) is_learner: IntGauge,
    pub(crate) learner_promotions: IntCounter,
    pub(crate) heartbeat_failures: IntCounter,
    pub(crate) slow_applies: IntCounter,
    pub(crate) slow_read_indexes: IntCounter,
    pub(crate) read_indexes_failed: IntCounter,
    pub(crate) quota_bytes: IntGauge,
    pub(crate) snapshot_applying: IntGauge,
    pub(crate) client_requests: IntCounterVec,
    // etcd_network_*
    pub(crate) active_peers: IntGaugeVec,
    pub(crate) known_peers: IntGaugeVec,
    pub(crate) sent_failures: IntCounterVec,
    pub(crate) received_bytes: IntCounterVec,
    pub(crate) client_received: IntCounter,
    pub(crate) client_sent: IntCounter,
    // etcd_disk_*
    pub(crate) commit_seconds: Histogram,
    pub(crate) snapshot_seconds: Histogram,
    pub(crate) hash_seconds: Histogram,
    pub(crate) hash_rev_seconds: Histogram,
    // etcd_mvcc_* and the older names of the same
    puts: [IntCounter; 2],
    deletes: [IntCounter; 2],
    txns: [IntCounter; 2],
    ranges: [IntCounter; 2],
    pub(crate) put_bytes: IntGauge,
    pub(crate) db_bytes: IntGauge,
    pub(crate) keys: IntGauge,
    pub(crate) revision: IntGauge,
    pub(crate) compact_revision: IntGauge,
    pub(crate) watchers: IntGauge,
    pub(crate) watch_streams: IntGauge,
    pub(crate) slow_watchers: IntGauge,
    pub(crate) pending_events: IntGauge,
    // leases
    pub(crate) leases_expired: IntCounter,
    pub(crate) lease_ttl: Histogram,
    // os_*
    pub(crate) fd_used: IntGauge,
    pub(crate) fd_limit: IntGauge,
}

impl Etcd {
    pub(super) fn new(d: &Declare<'_>) -> Result<Self> {
        let both = |name: &str, help: &str| -> Result<[IntCounter; 2]> {
            Ok([
                d.counter(&format!("etcd_mvcc_{name}"), help)?,
                d.counter(&format!("etcd_debugging_mvcc_{name}"), help)?,
            ])
        };
        let peers = ["Local", "Remote"];
        let seconds = |name: &str, help: &str| {
            d.histogram(HistogramOpts::new(name, help).buckets(LATENCY.to_vec()))
        };
        let ttl =
            HistogramOpts::new("etcd_debugging_lease_ttl_total", "TTLs of leases in seconds.")
                .buckets(prometheus::exponential_buckets(1.0, 2.0, 24)?);
        Ok(Self {
            id: d.gauges("etcd_server_id", "1 for this member's id, in hexadecimal.", &["server_id"])?,
            version: d.gauges("etcd_server_version", "1 for the version of etcd whose semantics hold.", &["server_version"])?,
            cluster_version: d.gauges("etcd_cluster_version", "1 for the version of etcd that the cluster speaks.", &["cluster_version"])?,
            is_learner: d.gauge("etcd_server_is_learner", "Whether this member is a learner: 1 or 0.")?,
            learner_promotions: d.counter("etcd_server_learner_promote_successes", "Learners that became voters while this member led.")?,
            heartbeat_failures: d.counter("etcd_server_heartbeat_send_failures_total", "Appends and heartbeats of this member, as leader, that were not answered.")?,
            slow_applies: d.counter("etcd_server_slow_apply_total", "Batches of entries that took longer than 100 ms to apply.")?,
            slow_read_indexes: d.counter("etcd_server_slow_read_indexes_total", "Linearizable reads whose index took longer than 500 ms.")?,
            read_indexes_failed: d.counter("etcd_server_read_indexes_failed_total", "Linearizable reads that got no index.")?,
            quota_bytes: d.gauge("etcd_server_quota_backend_bytes", "Bytes that the state may grow to: what it takes and what is free on its file system.")?,
            snapshot_applying: d.gauge("etcd_server_snapshot_apply_in_progress_total", "1 while a snapshot replaces this member's state.")?,
            client_requests: d.counters("etcd_server_client_requests_total", "Calls by the version that the client says it speaks.", &["type", "client_api_version"])?,
            active_peers: d.gauges("etcd_network_active_peers", "1 for each member that was heard lately: by the leader all, by the others the leader.", &peers)?,
            known_peers: d.gauges("etcd_network_known_peers", "1 for each other member.", &peers)?,
            sent_failures: d.counters("etcd_network_peer_sent_failures_total", "Raft messages to a member that were not answered.", &["To"])?,
            received_bytes: d.counters("etcd_network_peer_received_bytes_total", "Bytes of Raft messages from a member.", &["From"])?,
            client_received: d.counter("etcd_network_client_grpc_received_bytes_total", "Bytes received on client connections, TLS and framing included.")?,
            client_sent: d.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent on client connections, framing included.")?,
            commit_seconds: seconds("etcd_disk_backend_commit_duration_seconds", "How long it took to commit an applied entry to the storage engine.")?,
            snapshot_seconds: seconds("etcd_disk_backend_snapshot_duration_seconds", "How long it took to send a snapshot to a member.")?,
            hash_seconds: seconds("etcd_mvcc_hash_duration_seconds", "How long it took to hash everything that is kept, when asked.")?,
            hash_rev_seconds: seconds("etcd_mvcc_hash_rev_duration_seconds", "How long it took to hash all keys at a revision, when asked.")?,
            puts: both("put_total", "Keys put, as applied by this member.")?,
            deletes: both("delete_total", "Keys deleted, as applied by this member.")?,
            txns: both("txn_total", "Transactions of several operations or with comparisons, as applied by this member.")?,
            ranges: both("range_total", "Ranges read by this member, those in transactions that only read apart.")?,
            put_bytes: d.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put, as applied by this member.")?,
            db_bytes: d.gauge("etcd_debugging_mvcc_db_total_size_in_bytes", "Bytes the state takes on disk, journals included.")?,
            keys: d.gauge("etcd_debugging_mvcc_keys_total", "Keys that exist.")?,
            revision: d.gauge("etcd_debugging_mvcc_current_revision", "The store's revision.")?,
            compact_revision: d.gauge("etcd_debugging_mvcc_compact_revision", "Revision up to which the store is compacted.")?,
            watchers: d.gauge("etcd_debugging_mvcc_watcher_total", "Watchers.")?,
            watch_streams: d.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams.")?,
            slow_watchers: d.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that have not been sent everything yet.")?,
            pending_events: d.gauge("etcd_debugging_mvcc_pending_events_total", "Revisions that watchers have not been sent yet, over all watchers.")?,
            leases_expired: d.counter("etcd_debugging_server_lease_expired_total", "Leases that ran out while this member led.")?,
            lease_ttl: d.histogram(ttl)?,
            fd_used: d.gauge("os_fd_used", "File descriptors in use.")?,
            fd_limit: d.gauge("os_fd_limit", "Most file descriptors that may be in use.")?,
        })
    }

    /// Counts keys that were put, with their bytes, and keys that were deleted.
    pub(crate) fn wrote(&self, puts: u64, bytes: u64, deletes: u64) {
        self.puts.iter().for_each(|counter| counter.inc_by(puts));
        self.deletes.iter().for_each(|counter| counter.inc_by(deletes));
        self.put_bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a transaction.
    pub(crate) fn txn(&self) {
        self.txns.iter().for_each(IntCounter::inc);
    }

    /// Counts a range.
    pub(crate) fn range(&self) {
        self.ranges.iter().for_each(IntCounter::inc);
    }
}
