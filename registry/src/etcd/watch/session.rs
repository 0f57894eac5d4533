//! One stream: what its client asks, what its watchers are sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::stream::SelectAll;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::StreamExt;
use tonic::{Status, Streaming};
use watchkeep_api::etcdserverpb::{WatchRequest, WatchResponse};

use super::{header, require_leader, watcher::Watcher, wire::Frame};
use crate::{
    auth::{Credentials, Denied},
    cluster::{Cluster, ClusterError},
    mvcc::ViewError,
    watch::Outbox,
};

mod ask;
mod send;

/// Watchers that are sent something before it is looked at what the client asks.
const ADVANCES_MAX: usize = 16;

pub(super) struct Session {
    cluster: Cluster,
    /// One stream, which is looked at only when it was woken: the session is woken by its watchers far more often.
    requests: SelectAll<Streaming<WatchRequest>>,
    /// The client may send more.
    open: bool,
    /// The watchers that have something to send.
    outbox: Arc<Outbox>,
    watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Made and not taken yet: what one turn made.
    made: VecDeque<Frame>,
    /// Turns in a row that were watchers'.
    advanced: usize,
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
            leader: tokio::time::interval(require_leader::INTERVAL),
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
            requests: futures::stream::select_all([requests]),
            open: true,
            outbox,
            watchers: BTreeMap::new(),
            next_id: 0,
            made: VecDeque::new(),
            advanced: 0,
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
        if due && self.advanced < ADVANCES_MAX {
            self.advanced += 1;
            return self.advance().await;
        }
        self.advanced = 0;
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
