//! Samples that are computed rather than measured: recorded series. They go the way of a probe's samples: into the series
//! store of this node and, through the queues on disk, to every other alerting member and to whoever the configuration names.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::Utc;
use tokio_util::sync::CancellationToken;
use watchkeep_catalog::{Client, prompb};
use watchkeep_series::{Appended, Incoming, Labels, Sample, SeriesError, SeriesStore};

use crate::{
    CollectorConfig, CollectorError, access, keep_series,
    metrics::Metrics,
    remote_write::{self, Receivers},
};

/// Takes recorded series. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    store: Arc<SeriesStore>,
    receivers: Arc<Receivers>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    pub(crate) fn new(store: Arc<SeriesStore>, receivers: Arc<Receivers>) -> Self {
        Self { store, receivers }
    }

    /// For a node without a collector, at `self_url`: opens the queues in `queue_dir`. [`Self::keep`] has to run. Call it in
    /// a runtime of tokio.
    ///
    /// # Errors
    /// When TLS or a queue cannot be set up.
    pub fn apart(
        config: &CollectorConfig,
        self_url: &str,
        store: Arc<SeriesStore>,
        queue_dir: PathBuf,
        metrics: Metrics,
    ) -> Result<Self, CollectorError> {
        let named = |(path, message)| CollectorError::Setting { path, message };
        let public = access::config(None).map_err(named)?;
        let nodes = config.http_client.nodes(public).map_err(named)?;
        let gone_max = Duration::from_secs(config.retention_hours.unsigned_abs() * 3_600);
        let receivers = Receivers::new(
            Some(self_url),
            nodes,
            metrics,
            queue_dir,
            &config.remote_write,
            gone_max,
        );
        receivers.start().map_err(named)?;
        Ok(Self { store, receivers })
    }

    /// Does for a node without a collector what a collector does: follows the alerting members, flushes and expires the
    /// store. Until the token is cancelled; then everything is brought to the disk.
    pub async fn keep(self, client: Client, metrics: Metrics, token: CancellationToken) {
        let follow = remote_write::follow(self.receivers.clone(), client);
        tokio::join!(
            keep_series(self.store, metrics, token.clone()),
            token.run_until_cancelled(follow),
        );
        self.receivers.close().await;
    }

    /// Keeps samples: here at once (on disk within the second), elsewhere as soon as they are there.
    ///
    /// # Errors
    /// What the local store says; the others get them all the same.
    pub async fn record(&self, samples: Vec<(Labels, Sample)>) -> Result<Appended, SeriesError> {
        self.receivers.push(&samples);
        let store = self.store.clone();
        let append = move || store.append(&samples, Utc::now().timestamp_millis());
        // It may have to wait for the disk: not on a thread that others need.
        match tokio::task::spawn_blocking(append).await {
            Ok(appended) => appended,
            Err(error) => Err(SeriesError::Storage { what: "append", message: error.to_string() }),
        }
    }

    /// Keeps native histograms: here at once, elsewhere as soon as they are there, as [`Self::record`] does samples.
    ///
    /// # Errors
    /// What the local store says; where one is no histogram none is kept or sent.
    pub async fn record_histograms(
        &self,
        histograms: Vec<(Labels, prompb::Histogram)>,
    ) -> Result<Appended, SeriesError> {
        let (mut sent, mut kept) = (Vec::new(), Vec::new());
        for (labels, histogram) in histograms {
            let read = remote_write::histogram(histogram.clone());
            let read = read.map_err(|message| SeriesError::Storage {
                what: "a recorded histogram",
                message,
            })?;
            sent.push((labels.clone(), Arc::new(histogram)));
            kept.push((labels, [read]));
        }
        self.receivers.push_histograms(&sent);
        let store = self.store.clone();
        let append = move || {
            let pairs: Vec<Vec<_>> = kept.iter().map(|(l, _)| l.iter().collect()).collect();
            let incoming = pairs.iter().zip(&kept).map(|(labels, (_, histograms))| Incoming {
                labels: labels.as_slice(),
                samples: &[],
                histograms: histograms.as_slice(),
            });
            store.append_series(incoming, Utc::now().timestamp_millis())
        };
        match tokio::task::spawn_blocking(append).await {
            Ok(appended) => appended,
            Err(error) => Err(SeriesError::Storage { what: "append", message: error.to_string() }),
        }
    }
}
