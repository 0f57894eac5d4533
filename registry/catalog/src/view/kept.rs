//! The [`Catalog`] that a task keeps up to date, for any number of readers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{Catalog, State};
use crate::{client::Client, keys};

/// Former catalogs that are kept, so that a reader can be told what has changed since it looked last. They share what
/// they have in common: a former one costs a few KiB.
pub const PAST_MAX: usize = 1024;

/// The catalog as the registry tells it. Cheap to clone; ends its watch when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct View {
    newest: watch::Receiver<Catalog>,
    past: Arc<Mutex<VecDeque<Catalog>>>,
    left_out: watch::Receiver<usize>,
}

impl View {
    /// Follows the registry from now on, for ever: after a lost connection the last that was known stays, until the
    /// registry answers again.
    #[must_use]
    pub fn keep(client: &Client) -> Self {
        let mut batches = client.follow_shared(|key| !key.starts_with(keys::ALERT));
        let (sender, newest) = watch::channel(Catalog::default());
        let (count, left_out) = watch::channel(0);
        let past = Arc::new(Mutex::new(VecDeque::new()));
        let kept = past.clone();
        tokio::spawn(async move {
            let mut state = State::default();
            loop {
                let batch = tokio::select! {
                    batch = batches.recv() => batch,
                    () = sender.closed() => None,
                };
                let Some(batch) = batch else { return };
                if state.apply(batch) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() == PAST_MAX {
                        kept.pop_front();
                    }
                    kept.push_back(state.catalog().clone());
                }
                count.send_if_modified(|n| std::mem::replace(n, state.left_out()) != *n);
                sender.send_replace(state.catalog().clone());
            }
        });
        Self { newest, past, left_out }
    }

    /// The newest.
    #[must_use]
    pub fn now(&self) -> Catalog {
        self.newest.borrow().clone()
    }

    /// Records that are not taken: they cannot be read, or there are too many.
    #[must_use]
    pub fn left_out(&self) -> usize {
        *self.left_out.borrow()
    }

    /// The newest once it is good enough; none when that takes longer than `wait`.
    pub async fn wait_for(
        &self,
        wait: Duration,
        good: impl FnMut(&Catalog) -> bool,
    ) -> Option<Catalog> {
        let mut newest = self.newest.clone();
        let waiting = newest.wait_for(good);
        let found = tokio::time::timeout(wait, waiting).await.ok()?.ok()?;
        Some(found.clone())
    }

    /// The catalog as it was at `revision`; none when that is longer ago than [`PAST_MAX`] changes, or not yet known.
    #[must_use]
    pub fn at(&self, revision: i64) -> Option<Catalog> {
        if revision > self.newest.borrow().revision() {
            return None;
        }
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = past.partition_point(|catalog| catalog.changed() <= revision);
        behind.checked_sub(1).map(|at| past[at].clone())
    }
}
