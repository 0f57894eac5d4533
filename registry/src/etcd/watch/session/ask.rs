//! What a stream's client asks: watchers made and ended, and progress.

use std::sync::Arc;

use bytes::Bytes;
use watchkeep_api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_create_request::FilterType,
    watch_request::RequestUnion,
};

use super::{End, Session, reason};
use crate::{
    auth::Denied,
    etcd::watch::watcher::{COMPACTED, Watcher, refusal},
    watch::Interest,
};

/// Progress requests that wait until all watchers have been sent everything; more are one with the last.
const ASKED_MAX: usize = 64;

impl Session {
    pub(super) async fn take(&mut self, request: WatchRequest) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) if self.remove(cancel.watch_id) => {
                let response = self.response(cancel.watch_id, self.cluster.hub().newest());
                self.say(WatchResponse { canceled: true, ..response });
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.asked.answers = (self.asked.answers + 1).min(ASKED_MAX);
                self.asked.revision = self.cluster.hub().newest();
            }
            Some(RequestUnion::CancelRequest(_)) | None => {}
        }
        Ok(())
    }

    async fn create(&mut self, mut create: WatchCreateRequest) {
        if create.key.is_empty() {
            // etcd: no key means the first there can be.
            create.key = Bytes::from_static(b"\0");
        }
        let revision = self.cluster.hub().newest();
        if create.start_revision < 0 {
            // etcd says so before it asks whose stream it is.
            return self.refuse(COMPACTED);
        }
        let user = match self.admit(&create).await {
            Ok(user) => user,
            Err(denied) => return self.refuse(&reason(denied)),
        };
        let taken = create.watch_id != 0 && self.watchers.contains_key(&create.watch_id);
        if let Some(reason) = refusal(&create, taken) {
            return self.refuse(reason);
        }
        let id = if create.watch_id == 0 { self.free_id() } else { create.watch_id };
        let response = self.response(id, revision);
        self.say(WatchResponse { created: true, ..response });
        let compacted = self.cluster.store().applied().compact_revision;
        if create.start_revision > 0 && create.start_revision < compacted {
            // What is still in memory of it is not shown either: the answer must not depend on that.
            return self.say_compacted(id, compacted);
        }
        self.insert(id, create, revision, user);
    }

    /// Whose a new watcher is, if they may read its range.
    async fn admit(&self, create: &WatchCreateRequest) -> Result<Arc<str>, Denied> {
        let auth = self.cluster.auth();
        if !auth.enabled() {
            return Ok(Arc::default());
        }
        let applied = self.cluster.applied_index();
        let caller = auth.caller(self.credentials.clone(), applied).await?;
        auth.check_watch(&caller, &create.key, &create.range_end)?;
        Ok(caller.name())
    }

    fn refuse(&mut self, reason: &str) {
        let response = self.response(-1, self.cluster.hub().newest());
        let cancel_reason = reason.to_owned();
        self.say(WatchResponse { created: true, canceled: true, cancel_reason, ..response });
    }

    fn insert(&mut self, id: i64, create: WatchCreateRequest, revision: i64, user: Arc<str>) {
        let filters: Vec<FilterType> = create.filters().collect();
        let next = if create.start_revision > 0 { create.start_revision } else { revision + 1 };
        let interest = Interest {
            key: create.key,
            range_end: create.range_end,
            no_put: filters.contains(&FilterType::Noput),
            no_delete: filters.contains(&FilterType::Nodelete),
        };
        let mut watcher = Watcher {
            target: self.cluster.hub().watch(&self.outbox, id, interest, next),
            next,
            synced: true,
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress: create.progress_notify,
            quiet: true,
            user,
        };
        watcher.move_to(next, next > revision);
        self.watchers.insert(id, watcher);
        self.cluster.metrics().watchers.inc();
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn remove(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        self.cluster.hub().unwatch(&watcher.target);
        self.cluster.metrics().watchers.dec();
        true
    }
}
