//! `etcdserverpb.Watch`. One task per stream serves all its watchers. It pulls events at the pace at which the
//! client takes them: from memory, or from the `events` table when it has fallen behind.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use watchkeep_api::{
    etcdserverpb::{
        WatchCreateRequest, WatchRequest, WatchResponse, watch_create_request::FilterType,
        watch_request::RequestUnion, watch_server,
    },
    mvccpb,
};

use super::{MESSAGE_BYTES_MAX, convert, header};
use crate::{
    cluster::{Cluster, ClusterError},
    mvcc::{self, Bounds, ViewError},
    schema::Event,
    watch::{Revision, catch_up},
};

/// Responses that wait for a slow client; beyond it the stream's task waits, and nothing else does.
const RESPONSES_MAX: usize = 16;
/// How often a stream that requires a leader looks for it.
const LEADER_INTERVAL: Duration = Duration::from_millis(500);
/// How often a quiet watcher that asked for it is told the revision: etcd's.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

pub(super) struct Watch(pub(super) Cluster);

#[tonic::async_trait]
impl watch_server::Watch for Watch {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // etcd's clients ask so for a stream that ends when its member has lost the quorum.
        let require_leader = request.metadata().get("hasleader").is_some_and(|v| v == "true");
        let (sender, responses) = mpsc::channel(RESPONSES_MAX);
        let session = Session {
            cluster: self.0.clone(),
            sender,
            watchers: BTreeMap::new(),
            next_id: 0,
            require_leader,
        };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

struct Watcher {
    key: Bytes,
    range_end: Bytes,
    /// First revision that has not been sent.
    next: i64,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    fragment: bool,
    progress: bool,
}

/// One stream.
struct Session {
    cluster: Cluster,
    sender: mpsc::Sender<Result<WatchResponse, Status>>,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    require_leader: bool,
}

/// When a stream looks around without being asked.
struct Clocks {
    progress: Interval,
    leader: Interval,
}

impl Clocks {
    fn new() -> Self {
        let mut clocks = Self {
            progress: tokio::time::interval(PROGRESS_INTERVAL),
            leader: tokio::time::interval(LEADER_INTERVAL),
        };
        for clock in [&mut clocks.progress, &mut clocks.leader] {
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clock.reset();
        }
        clocks
    }
}

/// The client is gone.
struct Gone;

impl Session {
    async fn run(mut self, mut requests: Streaming<WatchRequest>) {
        let mut newest = self.cluster.hub().newest();
        let mut clocks = Clocks::new();
        let mut open = true;
        // Ends when the client is gone: it took the responses' other end with it.
        while self.turn(&mut requests, &mut open, &mut newest, &mut clocks).await.is_ok() {}
        self.cluster.metrics().watchers.sub(i64::try_from(self.watchers.len()).unwrap_or_default());
    }

    async fn turn(
        &mut self,
        requests: &mut Streaming<WatchRequest>,
        open: &mut bool,
        newest: &mut tokio::sync::watch::Receiver<i64>,
        clocks: &mut Clocks,
    ) -> Result<(), Gone> {
        let behind = self.pump().await?;
        let sender = self.sender.clone();
        tokio::select! {
            () = sender.closed() => Err(Gone),
            request = requests.next(), if *open => match request {
                Some(Ok(request)) => self.take(request).await,
                // The client sends no more; its watchers go on.
                None => { *open = false; Ok(()) }
                Some(Err(_)) => Err(Gone),
            },
            changed = newest.changed() => changed.map_err(|_| Gone),
            () = std::future::ready(()), if behind => Ok(()),
            _ = clocks.progress.tick() => self.tell_progress().await,
            _ = clocks.leader.tick(), if self.require_leader => self.check_leader().await,
        }
    }

    async fn send(&self, response: WatchResponse) -> Result<(), Gone> {
        self.sender.send(Ok(response)).await.map_err(|_| Gone)
    }

    fn response(&self, watch_id: i64, revision: i64) -> WatchResponse {
        WatchResponse {
            header: header(&self.cluster, revision),
            watch_id,
            ..WatchResponse::default()
        }
    }

    fn revision(&self) -> i64 {
        *self.cluster.hub().newest().borrow()
    }

    async fn take(&mut self, request: WatchRequest) -> Result<(), Gone> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                if self.watchers.remove(&cancel.watch_id).is_none() {
                    return Ok(());
                }
                self.cluster.metrics().watchers.dec();
                let response = self.response(cancel.watch_id, self.revision());
                self.send(WatchResponse { canceled: true, ..response }).await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                // Everything up to here has been sent: `pump` ran before.
                let sent = self.watchers.values().map(|w| w.next - 1).min();
                let revision = sent.unwrap_or_else(|| self.revision()).min(self.revision());
                self.send(self.response(-1, revision)).await
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, mut create: WatchCreateRequest) -> Result<(), Gone> {
        if create.key.is_empty() {
            // etcd: no key means the first there can be.
            create.key = Bytes::from_static(b"\0");
        }
        let revision = self.revision();
        let taken = create.watch_id != 0 && self.watchers.contains_key(&create.watch_id);
        if let Some(reason) = refusal(&create, taken) {
            let (response, cancel_reason) = (self.response(-1, revision), reason.to_owned());
            let refused = WatchResponse { created: true, canceled: true, ..response };
            return self.send(WatchResponse { cancel_reason, ..refused }).await;
        }
        let id = if create.watch_id == 0 { self.free_id() } else { create.watch_id };
        let filters: Vec<FilterType> = create.filters().collect();
        let watcher = Watcher {
            key: create.key,
            range_end: create.range_end,
            next: if create.start_revision > 0 { create.start_revision } else { revision + 1 },
            no_put: filters.contains(&FilterType::Noput),
            no_delete: filters.contains(&FilterType::Nodelete),
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            progress: create.progress_notify,
        };
        self.watchers.insert(id, watcher);
        self.cluster.metrics().watchers.inc();
        let response = self.response(id, revision);
        self.send(WatchResponse { created: true, ..response }).await?;
        let compacted = self.cluster.store().applied().compact_revision;
        if create.start_revision > 0 && create.start_revision < compacted {
            // What is still in memory of it is not shown either: the answer must not depend on that.
            return self.cancel_compacted(id, compacted).await;
        }
        Ok(())
    }

    fn free_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Ends the stream when there is no leader: its client then goes to another member.
    async fn check_leader(&self) -> Result<(), Gone> {
        if self.cluster.has_leader() {
            return Ok(());
        }
        let _ = self.sender.send(Err(ClusterError::NoLeader.into())).await;
        Err(Gone)
    }

    async fn tell_progress(&self) -> Result<(), Gone> {
        for (id, watcher) in &self.watchers {
            if watcher.progress {
                self.send(self.response(*id, watcher.next - 1)).await?;
            }
        }
        Ok(())
    }

    /// Sends each watcher its next events; true when one of them is still behind.
    async fn pump(&mut self) -> Result<bool, Gone> {
        // While a snapshot replaces the state there is nothing to read; its end wakes everybody.
        let Some(life) = self.cluster.store().life() else { return Ok(false) };
        let newest = self.revision();
        let due: Vec<i64> =
            self.watchers.iter().filter(|(_, w)| w.next <= newest).map(|(id, _)| *id).collect();
        let mut behind = false;
        for id in due {
            match self.advance(id, life).await {
                Ok(Ok(next)) => {
                    behind |= next <= newest;
                    if let Some(watcher) = self.watchers.get_mut(&id) {
                        watcher.next = next;
                    }
                }
                Ok(Err(gone)) => return Err(gone),
                Err(error) => {
                    let _ = self.sender.send(Err(ClusterError::from(error).into())).await;
                    return Err(Gone);
                }
            }
        }
        Ok(behind)
    }

    /// Sends one watcher what comes next for it; answers with the revision it goes on at.
    async fn advance(&mut self, id: i64, life: u64) -> Result<Result<i64, Gone>, ViewError> {
        let Some(watcher) = self.watchers.get(&id) else { return Ok(Ok(i64::MAX)) };
        let hub = self.cluster.hub();
        let recent = hub.since(watcher.next);
        let view = (recent.is_none() || watcher.prev_kv).then(|| self.cluster.store().view());
        let revisions = match (recent, &view) {
            (Some(revisions), _) => revisions,
            (None, Some(view)) => {
                let compacted = view.applied().compact_revision;
                if watcher.next < compacted {
                    return Ok(self.cancel_compacted(id, compacted).await.map(|()| i64::MAX));
                }
                let (view, from) = (view.clone(), watcher.next);
                let read = tokio::task::spawn_blocking(move || catch_up(&view, from));
                read.await.map_err(|e| ViewError::new(mvcc::Table::Events, e))??
            }
            (None, None) => Vec::new(),
        };
        if self.cluster.store().life() != Some(life) {
            return Ok(Ok(watcher.next));
        }
        let Some(last) = revisions.last().map(|revision| revision.number) else {
            // Nothing up to what the view knew; what came since is still to be read.
            let seen = view.map_or(watcher.next - 1, |view| view.applied().revision);
            return Ok(Ok((seen + 1).max(watcher.next)));
        };
        let mut events = Vec::new();
        for (event, number) in wanted(watcher, &revisions) {
            let prev = match (&view, watcher.prev_kv) {
                (Some(view), true) => previous(view, event, number)?,
                _ => None,
            };
            events.push(convert::event(event, prev));
        }
        if events.is_empty() {
            return Ok(Ok(last + 1));
        }
        let fragment = watcher.fragment;
        Ok(self.send_events(id, events, last, fragment).await.map(|()| last + 1))
    }

    async fn send_events(
        &self,
        id: i64,
        events: Vec<mvccpb::Event>,
        revision: i64,
        fragment: bool,
    ) -> Result<(), Gone> {
        let mut part = self.response(id, revision);
        let mut bytes = 0;
        for event in events {
            let size = event.encoded_len();
            if fragment && !part.events.is_empty() && bytes + size > MESSAGE_BYTES_MAX {
                part.fragment = true;
                self.send(std::mem::replace(&mut part, self.response(id, revision))).await?;
                bytes = 0;
            }
            bytes += size;
            part.events.push(event);
        }
        self.cluster.metrics().watch_events.inc_by(part.events.len() as u64);
        self.send(part).await
    }

    async fn cancel_compacted(&mut self, id: i64, compact_revision: i64) -> Result<(), Gone> {
        self.watchers.remove(&id);
        self.cluster.metrics().watchers.dec();
        // etcd: without a revision in the header.
        let response = self.response(id, 0);
        self.send(WatchResponse { canceled: true, compact_revision, ..response }).await
    }
}

/// Why there is no such watcher (etcd: `recvLoop` in `v3rpc/watch.go`, `Watch` in `mvcc/watcher.go`).
fn refusal(create: &WatchCreateRequest, taken: bool) -> Option<&'static str> {
    let (key, end) = (&create.key[..], &create.range_end[..]);
    if create.start_revision < 0 {
        Some("etcdserver: mvcc: required revision has been compacted")
    } else if !end.is_empty() && end != b"\0" && key >= end {
        Some("mvcc: watcher range is empty")
    } else if taken {
        Some("mvcc: duplicate watch ID provided on the WatchStream")
    } else {
        None
    }
}

fn wanted<'a>(
    watcher: &'a Watcher,
    revisions: &'a [Arc<Revision>],
) -> impl Iterator<Item = (&'a Event, i64)> {
    let bounds = Bounds::new(&watcher.key, &watcher.range_end);
    revisions
        .iter()
        .flat_map(|revision| revision.events.iter().map(move |event| (event, revision.number)))
        .filter(move |(event, number)| {
            *number >= watcher.next
                && bounds.contains(&event.kv.key)
                && !(if event.deleted { watcher.no_delete } else { watcher.no_put })
        })
}

/// The key before the event; none when it was created by it, or when that is compacted.
fn previous(
    view: &crate::store::StoreView,
    event: &Event,
    number: i64,
) -> Result<Option<crate::schema::KeyValue>, ViewError> {
    if !shows_previous(event, number, view.applied().compact_revision) {
        return Ok(None);
    }
    mvcc::at_revision(view, Bounds::new(&event.kv.key, b""), number - 1).next().transpose()
}

/// Whether what was before an event may be told, not whether there was anything. It may not when it is compacted,
/// even though it may still be there for a while.
fn shows_previous(event: &Event, number: i64, compacted: i64) -> bool {
    let is_create = !event.deleted && event.kv.create_revision == number;
    !is_create && number > compacted
}

#[cfg(test)]
mod tests;
