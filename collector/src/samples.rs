//! Where a probe's samples go: to the local store's thread, and to every receiver of remote write. Never waits.

use std::sync::{
    Arc,
    mpsc::{SyncSender, TrySendError},
};

use crate::{keeper::Samples, metrics::Metrics, remote_write::Receivers};

/// Takes samples. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) local: SyncSender<Samples>,
    pub(crate) receivers: Arc<Receivers>,
    pub(crate) metrics: Metrics,
}

impl Sink {
    pub(crate) fn push(&self, samples: Samples) {
        self.receivers.push(&samples);
        if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) =
            self.local.try_send(samples)
        {
            self.metrics.samples_dropped.inc_by(lost.len() as u64);
        }
    }
}
