//! What a watcher is sent next: what is in memory, or what the tables have of the past.

use std::sync::Arc;

use watchkeep_api::etcdserverpb::WatchResponse;

use super::{End, Session, reason};
use crate::{
    auth::Denied,
    etcd::{
        MESSAGE_BYTES_MAX,
        watch::{
            watcher::{Batch, Watcher},
            wire::Frame,
        },
    },
    mvcc::{Table, ViewError},
    store::StoreView,
    watch::{Revision, Target, past},
};

impl Session {
    /// Sends what comes next to the watcher whose turn it is.
    pub(super) async fn advance(&mut self) -> Result<(), End> {
        let Some(target) = self.outbox.pop() else { return Ok(()) };
        let marked = target.take();
        let watcher = self.watchers.get_mut(&target.id);
        let Some(watcher) = watcher.filter(|w| Arc::ptr_eq(&w.target, &target)) else {
            return Ok(());
        };
        let next = if watcher.synced { watcher.next.max(marked) } else { watcher.next };
        // While a snapshot replaces the state there is nothing to read; its end marks every watcher.
        let Some(life) = self.cluster.store().life() else {
            watcher.move_to(next, false);
            return Ok(());
        };
        let metrics = self.cluster.metrics();
        match self.cluster.hub().since(next) {
            Some(revisions) => {
                metrics.watch_batches.with_label_values(&["memory"]).inc();
                self.send_recent(&target, next, &revisions, life)
            }
            None => {
                metrics.watch_batches.with_label_values(&["table"]).inc();
                self.send_past(&target, next, life).await
            }
        }
    }

    /// From memory.
    fn send_recent(
        &mut self,
        target: &Target,
        next: i64,
        revisions: &[Arc<Revision>],
        life: u64,
    ) -> Result<(), End> {
        let Some(watcher) = self.watchers.get(&target.id) else { return Ok(()) };
        let (mut batch, view) = (Batch::default(), std::cell::OnceCell::<StoreView>::new());
        for revision in revisions {
            if batch.is_full() {
                break;
            }
            let view = || view.get_or_init(|| self.cluster.store().view());
            batch.add(target, revision, watcher.prev_kv, view)?;
        }
        let reached = batch.last.map_or(next, |last| last + 1);
        let more = revisions.last().is_some_and(|last| last.number >= reached)
            || revisions.len() >= crate::watch::SINCE_MAX;
        let whole = view.get().is_none() || self.cluster.store().life() == Some(life);
        self.finish(target.id, batch, whole, next, reached, !more);
        Ok(())
    }

    /// From the `events` table.
    async fn send_past(&mut self, target: &Arc<Target>, next: i64, life: u64) -> Result<(), End> {
        let Some(prev_kv) = self.watchers.get(&target.id).map(|w| w.prev_kv) else {
            return Ok(());
        };
        let hub = Arc::clone(self.cluster.hub());
        let _place = hub.catch_up().await.ok_or(End::Gone)?;
        let view = self.cluster.store().view();
        let compacted = view.applied().compact_revision;
        if next < compacted && self.cluster.store().life() == Some(life) {
            self.remove(target.id);
            self.say_compacted(target.id, compacted);
            return Ok(());
        }
        let (target, id) = (Arc::clone(target), target.id);
        let reading = tokio::task::spawn_blocking(move || {
            let newest = view.applied().revision;
            let past = past(&view, newest, next, &target.interest)?;
            let mut batch = Batch::default();
            for revision in &past.revisions {
                batch.add(&target, revision, prev_kv, || &view)?;
            }
            batch.last = Some(past.next - 1);
            Ok::<_, ViewError>((batch, past.next))
        });
        let (batch, reached) = reading.await.map_err(|e| ViewError::new(Table::Events, e))??;
        let whole = self.cluster.store().life() == Some(life);
        // Whether there is more in memory by now is looked at in its next turn.
        self.finish(id, batch, whole, next, reached, false);
        Ok(())
    }

    /// Sends what was gathered, if the state it was gathered from was `whole` all the time, and notes how far the
    /// watcher is.
    fn finish(
        &mut self,
        id: i64,
        batch: Batch,
        whole: bool,
        from: i64,
        reached: i64,
        synced: bool,
    ) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let may_see = if batch.events.is_empty() { Ok(()) } else { self.may_see(watcher) };
        let whole = match may_see {
            Ok(()) => whole,
            Err(Denied::Replaced) => false,
            Err(denied) => return self.end(id, denied),
        };
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        watcher.move_to(if whole { reached } else { from }, whole && synced);
        if !watcher.synced {
            watcher.again();
        }
        if !whole || batch.events.is_empty() {
            return;
        }
        watcher.quiet = false;
        self.shown = self.shown.max(batch.last.unwrap_or_default());
        let fragment = watcher.fragment;
        self.cluster.metrics().watch_events.inc_by(batch.events.len() as u64);
        let response = self.response(id, batch.last.unwrap_or_default());
        let frame = Frame { response, events: batch.events };
        if fragment {
            self.made.extend(frame.fragments(MESSAGE_BYTES_MAX));
        } else {
            self.made.push_back(frame);
        }
    }

    /// Whether a watcher may be sent what was just read for it. Asked after the reading: what it is sent was there
    /// when its user was allowed to see it.
    fn may_see(&self, watcher: &Watcher) -> Result<(), Denied> {
        let interest = &watcher.target.interest;
        self.cluster.auth().check_user(&watcher.user, &interest.key, &interest.range_end)
    }

    /// Ends a watcher whose user may not read its range any more.
    fn end(&mut self, id: i64, denied: Denied) {
        self.remove(id);
        let response = self.response(id, self.cluster.hub().newest());
        self.say(WatchResponse { canceled: true, cancel_reason: reason(denied), ..response });
    }
}
