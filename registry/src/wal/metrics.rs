//! The log's metrics. Names are etcd's where etcd measures the same.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets,
    register_histogram_with_registry, register_int_counter_with_registry,
    register_int_gauge_with_registry,
};

/// Counters, gauges and histograms of one log.
#[derive(Debug, Clone)]
pub(crate) struct WalMetrics {
    pub(super) fsync_seconds: Histogram,
    pub(super) write_bytes: IntCounter,
    pub(super) batch_entries: Histogram,
    pub(super) segments: IntGauge,
    pub(super) disk_bytes: IntGauge,
    pub(super) queue_length: IntGauge,
}

impl WalMetrics {
    /// # Errors
    /// The registry has a metric of one of these names already.
    pub(crate) fn new(registry: &Registry) -> Result<WalMetrics, prometheus::Error> {
        // etcd's buckets (1 ms × 2^n), three finer ones below, and the boundary that every latency here has.
        let mut seconds = exponential_buckets(0.000_125, 2.0, 17)?;
        seconds.push(0.1);
        seconds.sort_by(f64::total_cmp);
        Ok(WalMetrics {
            fsync_seconds: register_histogram_with_registry!(
                HistogramOpts::new(
                    "etcd_disk_wal_fsync_duration_seconds",
                    "How long fdatasync of the Raft log took.",
                )
                .buckets(seconds),
                registry
            )?,
            write_bytes: register_int_counter_with_registry!(
                "etcd_disk_wal_write_bytes_total",
                "Bytes written to the Raft log.",
                registry
            )?,
            batch_entries: register_histogram_with_registry!(
                HistogramOpts::new(
                    "watchkeep_registry_wal_batch_entries",
                    "Log entries that shared one write and one fdatasync.",
                )
                .buckets(exponential_buckets(1.0, 2.0, 12)?),
                registry
            )?,
            segments: register_int_gauge_with_registry!(
                "watchkeep_registry_wal_segments",
                "Segment files of the Raft log that hold entries.",
                registry
            )?,
            disk_bytes: register_int_gauge_with_registry!(
                "watchkeep_registry_wal_disk_bytes",
                "Bytes of all files of the Raft log, those prepared ahead included.",
                registry
            )?,
            queue_length: register_int_gauge_with_registry!(
                "watchkeep_registry_wal_queue_length",
                "Requests that wait for the Raft log's writer.",
                registry
            )?,
        })
    }
}
