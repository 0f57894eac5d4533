//! One stream: what its client asks, what its watchers are sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};
use watchkeep_api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_create_request::FilterType,
    watch_request::RequestUnion,
};

use super::{
    MESSAGE_BYTES_MAX, header,
    watcher::{Batch, COMPACTED, Watcher, refusal},
    wire::Frame,
};
use crate::{
    auth::{Credentials, Denied},
    cluster::{Cluster, ClusterError},
    mvcc::{Table, ViewError},
    store::StoreView,
    watch::{Interest, Outbox, Revision, Target, past},
};

/// How often a stream that requires a leader looks for it.
const LEADER_INTERVAL: Duration = Duration::from_millis(500);
/// Progress requests that wait until all watchers have been sent everything; more are one with the last.
const ASKED_MAX: usize = 64;

pub(super) struct Session {
    cluster: Cluster,
    requests: Streaming<WatchRequest>,
    /// The client may send more.
    open: bool,
    /// The watchers that have something to send.
    outbox: Arc<Outbox>,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Made and not taken yet: what one turn made.
    made: VecDeque<Frame>,
    asked: Asked,
    /// Newest revision of which events were sent: no progress is told below it.
    shown: i64,
    clocks: Clocks,
    require_leader: bool,
    /// Whose stream it is: asked for each watcher.
    credentials: Credentials,
    failed: bool,
}

/// What is to be told as soon as every watcher has been sent everything.
#[derive(Default)]
struct Asked {
    /// Answers to progress requests.
    answers: usize,
    /// The revision that they must have reached.
    revision: i64,
    /// The revision, to quiet watchers.
    tick: bool,
}

impl Asked {
    fn any(&self) -> bool {
        self.answers > 0 || self.tick
    }
}

/// When a stream looks around without being asked.
struct Clocks {
    progress: Interval,
    leader: Interval,
}

impl Clocks {
    fn new(progress: Duration) -> Self {
        let mut clocks = Self {
            progress: tokio::time::interval(progress),
            leader: tokio::time::interval(LEADER_INTERVAL),
        };
        for clock in [&mut clocks.progress, &mut clocks.leader] {
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clock.reset();
        }
        clocks
    }
}

/// Why a stream ends.
enum End {
    /// The client is gone.
    Gone,
    /// It is told this.
    Failed(Status),
}

impl From<ViewError> for End {
    fn from(error: ViewError) -> Self {
        Self::Failed(ClusterError::from(error).into())
    }
}

impl Session {
    pub(super) fn new(
        cluster: Cluster,
        requests: Streaming<WatchRequest>,
        require_leader: bool,
        credentials: Credentials,
    ) -> Self {
        let (outbox, clocks) =
            (cluster.hub().open(), Clocks::new(cluster.watch_progress_interval()));
        Self {
            cluster,
            requests,
            open: true,
            outbox,
            watchers: BTreeMap::new(),
            next_id: 0,
            made: VecDeque::new(),
            asked: Asked::default(),
            shown: 0,
            clocks,
            require_leader,
            credentials,
            failed: false,
        }
    }

    /// The next response; none when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Result<Frame, Status>> {
        loop {
            if let Some(frame) = self.made.pop_front() {
                return Some(Ok(frame));
            }
            if self.failed {
                return None;
            }
            match self.turn().await {
                Ok(()) => {}
                Err(End::Gone) => return None,
                Err(End::Failed(status)) => {
                    self.failed = true;
                    return Some(Err(status));
                }
            }
        }
    }

    async fn turn(&mut self) -> Result<(), End> {
        // Asked before the list is looked at: who was marked up to there is on it.
        let mut dispatched = self.asked.any().then(|| self.cluster.hub().dispatched());
        let reached = dispatched.as_mut().map_or(0, |d| *d.borrow_and_update());
        let due = !self.outbox.is_empty();
        if !due && self.asked.any() && reached >= self.asked.revision.max(self.shown) {
            self.tell_progress(reached);
            return Ok(());
        }
        tokio::select! {
            request = self.requests.next(), if self.open => match request {
                Some(Ok(request)) => self.take(request).await,
                // The client sends no more; its watchers go on.
                None => { self.open = false; Ok(()) }
                Some(Err(_)) => Err(End::Gone),
            },
            () = std::future::ready(()), if due => self.advance().await,
            () = self.outbox.ready(), if !due => Ok(()),
            () = further(&mut dispatched), if !due => Ok(()),
            _ = self.clocks.progress.tick() => { self.asked.tick = true; Ok(()) }
            _ = self.clocks.leader.tick(), if self.require_leader => self.check_leader(),
        }
    }

    fn response(&self, watch_id: i64, revision: i64) -> WatchResponse {
        WatchResponse {
            header: header(&self.cluster, revision),
            watch_id,
            ..WatchResponse::default()
        }
    }

    fn say(&mut self, response: WatchResponse) {
        self.made.push_back(response.into());
    }

    async fn take(&mut self, request: WatchRequest) -> Result<(), End> {
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

    fn remove(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        self.cluster.hub().unwatch(&watcher.target);
        self.cluster.metrics().watchers.dec();
        true
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn say_compacted(&mut self, id: i64, compact_revision: i64) {
        // etcd: without a revision in the header.
        let response = self.response(id, 0);
        self.say(WatchResponse { canceled: true, compact_revision, ..response });
    }

    /// Ends the stream when there is no leader: its client then goes to another member.
    fn check_leader(&self) -> Result<(), End> {
        if self.cluster.has_leader() {
            return Ok(());
        }
        Err(End::Failed(ClusterError::NoLeader.into()))
    }

    /// Every watcher has been sent everything up to `reached`, and says so where it was asked to.
    fn tell_progress(&mut self, reached: i64) {
        let asked = std::mem::take(&mut self.asked);
        for _ in 0..asked.answers {
            let answer = self.response(-1, reached);
            self.say(answer);
        }
        if !asked.tick {
            return;
        }
        let mut told = Vec::new();
        for (id, watcher) in &mut self.watchers {
            if watcher.progress && watcher.quiet && watcher.next <= reached + 1 {
                told.push(*id);
            }
            watcher.quiet = true;
        }
        for id in told {
            let response = self.response(id, reached);
            self.say(response);
        }
    }

    /// Sends what comes next to the watcher whose turn it is.
    async fn advance(&mut self) -> Result<(), End> {
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
}

impl Drop for Session {
    fn drop(&mut self) {
        for watcher in self.watchers.values() {
            self.cluster.hub().unwatch(&watcher.target);
        }
        self.cluster.hub().close(&self.outbox);
        self.cluster.metrics().watchers.sub(i64::try_from(self.watchers.len()).unwrap_or_default());
    }
}

/// As Go writes an error with its code: clients look for just that (etcd: `isWatchPermitted` in `v3rpc/watch.go`).
fn reason(denied: Denied) -> String {
    let status = Status::from(denied);
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// Resolves when more has been dispatched; never when nobody asked.
async fn further(dispatched: &mut Option<tokio::sync::watch::Receiver<i64>>) {
    if let Some(dispatched) = dispatched
        && dispatched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
