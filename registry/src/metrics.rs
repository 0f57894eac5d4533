//! What the registry shows of itself. etcd's names where etcd has the metric, `watchkeep_registry_*` for the rest.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Registry,
};

mod declare;
mod etcd;
mod messages;

use declare::Declare;
use etcd::Etcd;
pub(crate) use messages::StreamMessages;

/// A batch that takes longer to apply is a slow one: etcd's `warning-apply-duration`.
const SLOW_APPLY: Duration = Duration::from_millis(100);

/// The registry's metrics.
pub(crate) struct Metrics {
    pub(crate) has_leader: IntGauge,
    pub(crate) is_leader: IntGauge,
    pub(crate) leader_changes: IntCounter,
    pub(crate) elections: IntCounter,
    pub(crate) committed: IntCounter,
    pub(crate) applied: IntCounter,
    pending: IntGauge,
    pub(crate) proposals_failed: IntCounter,
    pub(crate) db_bytes: IntGauge,
    pub(crate) db_in_use_bytes: IntGauge,
    pub(crate) keys: IntGauge,
    pub(crate) watchers: IntGauge,
    pub(crate) watch_streams: IntGauge,
    pub(crate) watch_events: IntCounter,
    pub(crate) watch_batches: IntCounterVec,
    pub(crate) watchers_behind: IntGaugeVec,
    pub(crate) watcher_lag: IntGaugeVec,
    pub(crate) leases_granted: IntCounter,
    pub(crate) leases_revoked: IntCounter,
    pub(crate) leases_renewed: IntCounter,
    pub(crate) leases_expired: IntCounter,
    pub(crate) leases_due: IntGauge,
    pub(crate) lease_lateness: Histogram,
    pub(crate) lease_checkpoints: IntCounter,
    pub(crate) renewal_batch: Histogram,
    round_trip: HistogramVec,
    sent_bytes: IntCounterVec,
    pub(crate) grpc_started: IntCounterVec,
    pub(crate) grpc_handled: IntCounterVec,
    pub(crate) grpc_seconds: HistogramVec,
    pub(crate) grpc_messages: StreamMessages,
    pub(crate) term: IntGauge,
    pub(crate) role: IntGaugeVec,
    pub(crate) last_log: IntGauge,
    pub(crate) snapshot_index: IntGauge,
    pub(crate) purged_index: IntGauge,
    pub(crate) lag: IntGaugeVec,
    committed_seconds: Histogram,
    applied_seconds: Histogram,
    pub(crate) stage_quantiles: GaugeVec,
    apply_batch: Histogram,
    pub(crate) disk_bytes: IntGauge,
    pub(crate) segments: IntGauge,
    pub(crate) l0_segments: IntGauge,
    pub(crate) cache_hits: Gauge,
    pub(crate) pinned_bytes: IntGauge,
    pub(crate) forgotten_rows: IntCounter,
    pub(crate) write_buffer: IntGauge,
    pub(crate) outstanding_flushes: IntGauge,
    pub(crate) active_compactions: IntGauge,
    pub(crate) compactions: IntCounter,
    pub(crate) compacting_seconds: Gauge,
    pub(crate) cache_bytes: IntGauge,
    pub(crate) memtable_rows: IntGauge,
    pub(crate) revision: IntGauge,
    pub(crate) compact_revision: IntGauge,
    pub(crate) leases: IntGauge,
    pub(crate) alarms: IntGaugeVec,
    pub(crate) free_bytes: IntGauge,
    pub(crate) corruption_checks: IntCounterVec,
    pub(crate) corruption_check_seconds: Gauge,
    pub(crate) health_success: IntCounter,
    pub(crate) health_failures: IntCounter,
    health_check: IntGaugeVec,
    health_checks: IntCounterVec,
    pub(crate) etcd: Etcd,
    tls_expiry: IntGaugeVec,
    pub(crate) tls_reloads: IntCounterVec,
    pub(crate) tls_refused: IntCounterVec,
}

type Result<T> = std::result::Result<T, prometheus::Error>;

impl Metrics {
    /// Declares them on `registry`.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub(crate) fn new(registry: &Registry) -> Result<Self> {
        let d = Declare(registry);
        let grpc_started = d.counters(
            "grpc_server_started_total",
            "gRPC calls begun.",
            &["grpc_type", "grpc_service", "grpc_method"],
        )?;
        let grpc_handled = d.counters(
            "grpc_server_handled_total",
            "gRPC calls ended, by code.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        )?;
        let batch = HistogramOpts::new(
            "watchkeep_registry_apply_batch_entries",
            "Log entries applied in one go.",
        )
        .buckets(prometheus::exponential_buckets(1.0, 2.0, 12)?);
        let apply_batch = d.histogram(batch)?;
        let batch = HistogramOpts::new(
            "watchkeep_registry_lease_renewal_batch",
            "Leases renewed in one call to the leader.",
        )
        .buckets(prometheus::exponential_buckets(1.0, 4.0, 7)?);
        let renewal_batch = d.histogram(batch)?;
        let lateness = HistogramOpts::new(
            "watchkeep_registry_lease_expiry_lateness_seconds",
            "Time from the end of a lease until the leader begins to revoke it: expiry is paced.",
        )
        .buckets(vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]);
        let lease_lateness = d.histogram(lateness)?;
        let stage = d.histograms(
            "watchkeep_registry_proposal_stage_seconds",
            "Time by stage: committed from the leader's queue to the answer of a proposal, applied for a batch of entries.",
            &["stage"],
        )?;
        Ok(Self {
            has_leader: d.gauge("etcd_server_has_leader", "Whether this member knows a leader: 1 or 0.")?,
            is_leader: d.gauge("etcd_server_is_leader", "Whether this member is the leader: 1 or 0.")?,
            leader_changes: d.counter("etcd_server_leader_changes_seen_total", "Changes of leader this member has seen.")?,
            elections: d.counter("watchkeep_registry_elections_called_total", "Elections this member has called, won or not.")?,
            committed: d.counter("etcd_server_proposals_committed_total", "Log index up to which proposals are committed.")?,
            applied: d.counter("etcd_server_proposals_applied_total", "Log index up to which proposals are applied.")?,
            pending: d.gauge("etcd_server_proposals_pending", "Proposals made here that are not answered yet.")?,
            proposals_failed: d.counter("etcd_server_proposals_failed_total", "Proposals made here that failed.")?,
            db_bytes: d.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the state takes on disk.")?,
            db_in_use_bytes: d.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes the state takes on disk.")?,
            keys: d.gauge("watchkeep_registry_keys", "Keys that exist.")?,
            watchers: d.gauge("watchkeep_registry_watchers", "Watchers.")?,
            watch_events: d.counter("etcd_debugging_mvcc_events_total", "Events sent to watchers.")?,
            watch_streams: d.gauge("watchkeep_registry_watch_streams", "Watch streams that are open.")?,
            watch_batches: d.counters(
                "watchkeep_registry_watch_batches_total",
                "Batches of revisions looked through for a watcher, by where they were read: memory, or table for one that has fallen behind.",
                &["source"],
            )?,
            watchers_behind: d.gauges(
                "watchkeep_registry_watchers_behind",
                "Watchers that are at least so many revisions behind.",
                &["revisions"],
            )?,
            watcher_lag: d.gauges(
                "watchkeep_registry_watcher_lag_revisions",
                "Revisions by which a watcher is behind, of the ten that are furthest behind.",
                &["stream", "watcher"],
            )?,
            leases_revoked: d.counter("etcd_debugging_lease_revoked_total", "Leases revoked, asked for or run out.")?,
            leases_renewed: d.counter("etcd_debugging_lease_renewed_total", "Renewals of leases this member has answered as the leader.")?,
            leases_expired: d.counter("watchkeep_registry_lease_expired_total", "Leases this member has revoked as the leader because they had run out.")?,
            leases_due: d.gauge("watchkeep_registry_leases_due", "On the leader: leases that have run out and wait to be revoked.")?,
            lease_lateness,
            lease_checkpoints: d.counter(
                "watchkeep_registry_lease_checkpoints_total",
                "Notes of what is left of a lease, made or taken back in the log.",
            )?,
            renewal_batch,
            leases_granted: d.counter("etcd_debugging_lease_granted_total", "Leases granted.")?,
            round_trip: d.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Time from a Raft message to a member until its answer.",
                &["To"],
            )?,
            sent_bytes: d.counters("etcd_network_peer_sent_bytes_total", "Bytes of log sent to a member.", &["To"])?,
            grpc_messages: messages::declare(registry, &grpc_started, &grpc_handled)?,
            grpc_started,
            grpc_handled,
            grpc_seconds: d.histograms(
                "grpc_server_handling_seconds",
                "Time from a unary gRPC call to the end of its answer.",
                &["grpc_type", "grpc_service", "grpc_method"],
            )?,
            term: d.gauge("watchkeep_registry_raft_term", "Raft term.")?,
            role: d.gauges("watchkeep_registry_raft_role", "1 for the role this member has.", &["role"])?,
            last_log: d.gauge("watchkeep_registry_raft_last_log_index", "Index of the last log entry.")?,
            snapshot_index: d.gauge("watchkeep_registry_raft_snapshot_index", "Index up to which the newest snapshot reaches.")?,
            purged_index: d.gauge("watchkeep_registry_raft_purged_index", "Index up to which the log is purged.")?,
            lag: d.gauges(
                "watchkeep_registry_replication_lag_entries",
                "On the leader: log entries a member has not confirmed yet.",
                &["peer"],
            )?,
            committed_seconds: stage.with_label_values(&["committed"]),
            applied_seconds: stage.with_label_values(&["applied"]),
            stage_quantiles: d.floats(
                "watchkeep_registry_commit_stage_seconds",
                "Percentiles of the newest log entries' time in each stage of a commit, on the leader.",
                &["stage", "percentile"],
            )?,
            apply_batch,
            disk_bytes: d.gauge("watchkeep_registry_storage_disk_bytes", "Bytes of the state on disk.")?,
            segments: d.gauge("watchkeep_registry_storage_segments", "Segments on disk.")?,
            l0_segments: d.gauge("watchkeep_registry_storage_l0_segments", "Segments not merged into the others yet.")?,
            cache_hits: d.float(
                "watchkeep_registry_storage_cache_hit_ratio",
                "Share of block reads answered from the cache since the start.",
            )?,
            pinned_bytes: d.gauge("watchkeep_registry_storage_pinned_bytes", "Bytes of filters and indexes held in memory.")?,
            forgotten_rows: d.counter("watchkeep_registry_storage_forgotten_rows_total", "Rows that merging let go after compactions.")?,
            write_buffer: d.gauge("watchkeep_registry_storage_write_buffer_bytes", "Bytes in memtables.")?,
            outstanding_flushes: d.gauge("watchkeep_registry_storage_outstanding_flushes", "Memtables waiting to be written out.")?,
            active_compactions: d.gauge("watchkeep_registry_storage_active_compactions", "Merges of segments running.")?,
            compactions: d.counter("watchkeep_registry_storage_compactions_total", "Merges of segments done.")?,
            compacting_seconds: d.float("watchkeep_registry_storage_compacting_seconds", "Time spent merging segments since the start.")?,
            cache_bytes: d.gauge("watchkeep_registry_storage_cache_bytes", "Bytes in the block cache.")?,
            memtable_rows: d.gauge("watchkeep_registry_storage_memtable_rows", "Rows applied but not in a segment yet.")?,
            revision: d.gauge("watchkeep_registry_revision", "The store's revision.")?,
            compact_revision: d.gauge("watchkeep_registry_compact_revision", "Revision up to which the store is compacted.")?,
            leases: d.gauge("watchkeep_registry_leases", "Leases that exist.")?,
            alarms: d.gauges(
                "etcd_debugging_server_alarms",
                "1 for each alarm that is raised, by the member (hexadecimal; 0: nobody's in particular) and the type.",
                &["server_id", "alarm_type"],
            )?,
            free_bytes: d.gauge(
                "watchkeep_registry_free_bytes",
                "Bytes that are free on the file system of the data directory.",
            )?,
            corruption_checks: d.counters(
                "watchkeep_registry_corruption_checks_total",
                "On the leader: comparisons of a part of the data with another member, by what came out: equal, different, unanswered.",
                &["result"],
            )?,
            corruption_check_seconds: d.float(
                "watchkeep_registry_corruption_check_round_seconds",
                "On the leader: how long the last comparison of all keys took, from the first to the last.",
            )?,
            health_success: d.counter("etcd_server_health_success", "Answers of /health that said well.")?,
            health_failures: d.counter("etcd_server_health_failures", "Answers of /health that said unwell.")?,
            health_check: d.gauges(
                "etcd_server_healthcheck",
                "What a check of /livez or /readyz last gave: 1 well, 0 not.",
                &["type", "name"],
            )?,
            health_checks: d.counters(
                "etcd_server_healthchecks_total",
                "Runs of each check of /livez and /readyz, by what it gave.",
                &["type", "name", "status"],
            )?,
            etcd: Etcd::new(&d)?,
            tls_expiry: d.gauges(
                "watchkeep_registry_tls_certificate_expiry_timestamp_seconds",
                "Unix time at which the certificate in use ends, by listener.",
                &["listener"],
            )?,
            tls_reloads: d.counters(
                "watchkeep_registry_tls_reloads_total",
                "Changes of a listener's certificate files: taken, or refused since they are of no use.",
                &["listener", "result"],
            )?,
            tls_refused: d.counters(
                "watchkeep_registry_tls_connections_refused_total",
                "Connections that a listener did not let in, by listener.",
                &["listener"],
            )?,
        })
    }

    /// Counts a proposal as pending until the guard is dropped.
    pub(crate) fn proposal(&self) -> Pending {
        self.pending.inc();
        Pending(self.pending.clone())
    }

    /// Counts a check of `/livez` or `/readyz`.
    pub(crate) fn checked(&self, kind: &str, name: &str, is_well: bool) {
        let status = if is_well { "success" } else { "error" };
        self.health_check.with_label_values(&[kind, name]).set(i64::from(is_well));
        self.health_checks.with_label_values(&[kind, name, status]).inc();
    }

    /// Shows when a listener's certificate ends, and from the start that nothing has gone wrong with it.
    pub(crate) fn tls_expiry(&self, listener: &str, not_after_seconds: i64) {
        self.tls_expiry.with_label_values(&[listener]).set(not_after_seconds);
        self.tls_refused.with_label_values(&[listener]);
        for result in ["taken", "refused"] {
            self.tls_reloads.with_label_values(&[listener, result]);
        }
    }

    pub(crate) fn proposed(&self, took: Duration) {
        self.committed_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn applied(&self, entries: u32, took: Duration) {
        self.apply_batch.observe(f64::from(entries));
        self.applied_seconds.observe(took.as_secs_f64());
        if took > SLOW_APPLY {
            self.etcd.slow_applies.inc();
        }
    }

    /// Those of one member.
    pub(crate) fn peer(&self, to: u64) -> PeerMetrics {
        let to = to.to_string();
        PeerMetrics {
            round_trip: self.round_trip.with_label_values(&[&to]),
            sent_bytes: self.sent_bytes.with_label_values(&[&to]),
            snapshot_seconds: self.etcd.snapshot_seconds.clone(),
            failures: self.etcd.sent_failures.with_label_values(&[&to]),
            heartbeat_failures: self.etcd.heartbeat_failures.clone(),
        }
    }

    pub(crate) fn received(&self, from: u64, bytes: usize) {
        self.etcd.received_bytes.with_label_values(&[&from.to_string()]).inc_by(bytes as u64);
    }
}

/// Of the way to one member.
pub(crate) struct PeerMetrics {
    pub(crate) round_trip: Histogram,
    pub(crate) sent_bytes: IntCounter,
    pub(crate) snapshot_seconds: Histogram,
    failures: IntCounter,
    heartbeat_failures: IntCounter,
}

impl PeerMetrics {
    /// Counts a Raft message that was not answered.
    pub(crate) fn not_answered(&self) {
        self.heartbeat_failures.inc();
        self.failures.inc();
    }
}

/// A pending proposal.
pub(crate) struct Pending(IntGauge);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.dec();
    }
}
