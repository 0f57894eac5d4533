//! What stands on disks: the log, the state, the samples; and what questions to the samples cost.

use super::{
    board::{Board, FEW, LATENCY, Panel, Services, areas, lines},
    query::{max, mean, quantile, quantile_of_range, rate},
};

const READING: &str = r#"
**A write** is acknowledged when a majority has made it durable in the *write-ahead log*: only *Fsync* may make it wait. Above 50 ms the alert comes, above 100 ms the promise is broken.
**The state** is written behind, in the background; it never makes a write wait. *Rows in memtables* that keep growing mean that the disk is too slow.
**Samples** are the collectors' and alerting's: verdicts and failovers never wait for them.
"#;

pub(super) fn board() -> Board {
    let board = Board {
        name: "storage",
        title: "Storage",
        description: "What stands on disks: the log, the state, the samples; and what questions to them cost.",
        metric: "watchkeep_catalog_revision",
        reading: READING,
        services: Services::No,
        rows: Vec::new(),
    };
    board
        .row("Write-ahead log", log())
        .row("The registry's state", state())
        .row("Snapshots and space", space())
        .row("Series store", series())
        .row("Questions in PromQL", questions())
}

fn log() -> Vec<Panel> {
    let fsync = "etcd_disk_wal_fsync_duration_seconds";
    vec![
        lines("Fsync", "s", "Median and 99th percentile of an fsync of the log. Every write waits for one on a majority of members.")
            .ask("{{instance}} 50 %", quantile("0.5", "instance", fsync))
            .ask("{{instance}} 99 %", quantile("0.99", "instance", fsync))
            .steps(&[("green", None), ("orange", Some(0.05)), ("red", Some(0.1))]).runbook("WatchkeepSlowFsync"),
        lines("Entries per fsync", "short", "Mean number of entries that one fsync makes durable: group commit at work.")
            .ask("{{instance}}", mean("instance", "watchkeep_registry_wal_batch_entries")),
        lines("Written to the log", "Bps", "Bytes per second.")
            .ask("{{instance}}", rate("instance", "etcd_disk_wal_write_bytes_total")),
        lines("Waiting for the log's writer", "short", "Appends that are queued.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_wal_queue_length")).runbook("WatchkeepSlowFsync"),
        lines("Log on disk", "bytes", "Bytes in log files, prewritten ones included; the log is purged behind a snapshot.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_wal_disk_bytes")).runbook("WatchkeepStorageGrowth"),
        lines("Log files, and entries kept", "short", "Files of the log, and entries since the last purge.")
            .ask("{{instance}} files", max("instance", "watchkeep_registry_wal_segments"))
            .ask("{{instance}} entries", "max by (instance) (watchkeep_registry_raft_last_log_index) - max by (instance) (watchkeep_registry_raft_purged_index)"),
    ]
}

fn state() -> Vec<Panel> {
    vec![
        lines("State on disk", "bytes", "With journals, without, and in segments alone. 8 GiB is where the alert on growth looks to.")
            .ask("{{instance}} with journals", max("instance", "etcd_mvcc_db_total_size_in_bytes"))
            .ask("{{instance}} without", max("instance", "etcd_mvcc_db_total_size_in_use_in_bytes"))
            .ask("{{instance}} segments", max("instance", "watchkeep_registry_storage_disk_bytes"))
            .steps(&[("green", None), ("red", Some(8_589_934_592.0))]).runbook("WatchkeepStorageGrowth"),
        lines("Rows in memtables", "short", "Applied, and not in a segment on disk yet. Many of them for long: the disk is too slow.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_storage_memtable_rows")).runbook("WatchkeepSlowFsync"),
        lines("Memory", "bytes", "Bytes in memtables, in filters and indexes of segments, and in the block cache.")
            .ask("{{instance}} memtables", max("instance", "watchkeep_registry_storage_write_buffer_bytes"))
            .ask("{{instance}} filters and indexes", max("instance", "watchkeep_registry_storage_pinned_bytes"))
            .ask("{{instance}} cache", max("instance", "watchkeep_registry_storage_cache_bytes")),
        lines("Block cache", "percentunit", "Share of block reads that the cache answered since the start.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_storage_cache_hit_ratio")).share(),
        lines("Segments", "short", "Files of the state on disk, and those not sorted in yet: many of those slow reads down.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_storage_segments"))
            .ask("{{instance}} not sorted in", max("instance", "watchkeep_registry_storage_l0_segments")),
        lines("Flushes and merges", "short", "Memtables that wait to be written out, merges that run, and merges done per second.")
            .ask("{{instance}} flushes waiting", max("instance", "watchkeep_registry_storage_outstanding_flushes"))
            .ask("{{instance}} merging", max("instance", "watchkeep_registry_storage_active_compactions"))
            .ask("{{instance}} merges/s", rate("instance", "watchkeep_registry_storage_compactions_total")),
        lines("Time spent merging segments", "percentunit", "Share of the time.")
            .ask("{{instance}}", rate("instance", "watchkeep_registry_storage_compacting_seconds")),
        lines("Rows let go", "ops", "Rows per second that merging left out because a compaction had made them forgettable.")
            .ask("{{instance}}", rate("instance", "watchkeep_registry_storage_forgotten_rows_total")),
        lines("Time of a commit to the engine", "s", "99th percentile of committing an applied entry. It is no part of what a client waits for.")
            .ask("{{instance}}", quantile("0.99", "instance", "etcd_disk_backend_commit_duration_seconds")).steps(LATENCY),
    ]
}

fn space() -> Vec<Panel> {
    vec![
        lines("Free space", "bytes", "Free on the file system of the data directory. Below registry.nospace_free_bytes the alarm NOSPACE refuses puts.")
            .ask("{{instance}}", max("instance", "watchkeep_registry_free_bytes")).runbook("WatchkeepNoSpace"),
        lines("Room to grow", "percentunit", "Share that the state takes of what it could: itself and what is free.")
            .ask("{{instance}}", "max by (instance) (etcd_mvcc_db_total_size_in_bytes) / max by (instance) (etcd_server_quota_backend_bytes)")
            .share().steps(&[("green", None), ("red", Some(0.9))]).runbook("WatchkeepStorageGrowth"),
        lines("Reach of snapshot and compaction", "none", "The newest snapshot's index in the log, and the revision up to which history is compacted.")
            .ask("{{instance}} snapshot", max("instance", "watchkeep_registry_raft_snapshot_index"))
            .ask("{{instance}} compacted", max("instance", "watchkeep_registry_compact_revision")),
        lines("Snapshots sent and taken", "ops", "Snapshots sent to members that were away too long, per second, and whether one replaces this member's state now.")
            .ask("{{instance}} sent/s", rate("instance", "etcd_disk_backend_snapshot_duration_seconds_count"))
            .ask("{{instance}} takes one", max("instance", "etcd_server_snapshot_apply_in_progress_total")).runbook("WatchkeepReplicationLag"),
        lines("Time spent on snapshots and hashes", "percentunit", "Share of the time: sending snapshots, and hashing keys for those who ask (etcdctl endpoint hashkv).")
            .ask("{{instance}} snapshots", rate("instance", "etcd_disk_backend_snapshot_duration_seconds_sum"))
            .ask("{{instance}} hash", rate("instance", "etcd_mvcc_hash_duration_seconds_sum"))
            .ask("{{instance}} hash of keys", rate("instance", "etcd_mvcc_hash_rev_duration_seconds_sum")),
        lines("Bytes put", "Bps", "Keys and values put, as applied.")
            .ask("{{instance}}", "max by (instance) (deriv(etcd_debugging_mvcc_total_put_size_in_bytes[$__rate_interval]))").runbook("WatchkeepStorageGrowth"),
    ]
}

fn series() -> Vec<Panel> {
    vec![
        lines("Series", "short", "Series in each node's store.").ask("{{instance}}", max("instance", "watchkeep_series_active")),
        lines("Samples taken", "ops", "Per second, by node.")
            .ask("{{instance}}", rate("instance", "watchkeep_series_samples_appended_total")),
        lines("Size of the series store", "bytes", "On disk; collector.series bounds it.")
            .ask("{{instance}}", max("instance", "watchkeep_series_disk_bytes")).runbook("WatchkeepSamplesLost"),
        areas("Samples left out", "ops", "Per second, by reason.")
            .ask("{{reason}}", rate("reason", "watchkeep_series_samples_rejected_total")).runbook("WatchkeepSamplesLost"),
        lines("Samples lost, operations failed", "ops", "Samples that the store did not take in time, and its operations that failed. Both should be 0.")
            .ask("{{instance}} dropped", rate("instance", "watchkeep_collector_samples_dropped_total"))
            .ask("{{instance}} {{operation}}", rate("instance, operation", "watchkeep_series_errors_total"))
            .steps(FEW).runbook("WatchkeepSamplesLost"),
        lines("Time of a flush", "s", "99th percentile in the time shown. A crash loses what was not flushed, about a second.")
            .ask("{{instance}}", quantile_of_range("0.99", "instance", "watchkeep_series_flush_seconds")).runbook("WatchkeepSamplesLost"),
        areas("Remote write received", "ops", "Requests per second, by result.")
            .ask("{{result}}", rate("result", "watchkeep_collector_remote_write_requests_total")).runbook("WatchkeepRemoteWriteLag"),
    ]
}

fn questions() -> Vec<Panel> {
    vec![
        lines("Time of a query", "s", "99th percentile in the time shown: PromQL asked by rules, reports and /api/v1, from its turn to its answer.")
            .ask("{{instance}}", quantile_of_range("0.99", "instance", "watchkeep_query_seconds")).steps(LATENCY).runbook("WatchkeepRulesMissed"),
        lines("Wait for a turn", "s", "99th percentile in the time shown. If it grows, query.concurrency_max is too small for what is asked.")
            .ask("{{instance}}", quantile_of_range("0.99", "instance", "watchkeep_query_queue_seconds")).steps(LATENCY).runbook("WatchkeepRulesMissed"),
        areas("Queries by result", "ops", "Answered, refused as wrong, out of time, over a limit, or turned away because too many wait.")
            .ask("{{result}}", rate("result", "watchkeep_query_results_total")),
    ]
}
