//! One member as the services see it: propose a command, read linearizably, renew a lease, wherever the leader is.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use openraft::{
    ServerState,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use prost::Message;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::Instant,
};
use tracing::{Instrument, debug_span};
use watchkeep_api::peer::{Answers, LeaseResponse};

use crate::{
    auth::{Auth, Caller, Denied},
    election::{Seen, Timing, Vitals, would_vote},
    lessor::{CHECKPOINTS_MAX, Left, Lessor, Renewal},
    metrics::Metrics,
    mvcc::{self, Refusal, ViewError, refused_by},
    raft::{
        Peers,
        types::{Encoded, Peer, Raft, Vote},
    },
    renewal::Renewer,
    schema::{Body, Command, LeaseCheckpoint, LeaseRest, MemberInfo, Outcome, Revoke},
    store::{Store, StoreView},
    watch::Hub,
};

mod forward;
mod lead;
mod members;
mod queue;
mod reads;

use forward::Leader;
pub(crate) use members::Listed;
use queue::Queue;
use reads::Reads;

/// How long a request waits for a leader and for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
/// How often a command is tried whose caller has changed on the way.
const TRIES_MAX: usize = 5;
/// Times that the notes of leases are taken back before a renewal is given up.
const RENEW_TRIES: usize = 3;
/// A linearizable read that takes longer to begin is a slow one: etcd asks again after that.
const SLOW_READ_INDEX: Duration = Duration::from_millis(500);
/// Pause before the leader is looked for again.
const PAUSE: Duration = Duration::from_millis(15);

/// Why a request cannot be served.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// This member was asked as the leader and is not.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// There is no leader.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The leader went away while it had the request: whether it was applied is not known.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// It took too long.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// Too many are under way.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The member is going down.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// A snapshot is replacing this member's state.
    #[error("watchkeep: this member is catching up by a snapshot: ask another, or again")]
    Replaced,
    /// Members disagree, and nothing is changed until that is settled.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// The state cannot be read.
    #[error("watchkeep: the state cannot be read: {0}")]
    View(#[from] ViewError),
    /// Whose request it is may not, or is not known.
    #[error("{0:?}")]
    Denied(Denied),
}

struct Inner {
    id: u64,
    raft: Raft,
    store: Store,
    hub: Arc<Hub>,
    lessor: Arc<Lessor>,
    auth: Arc<Auth>,
    peers: Peers,
    metrics: Arc<Metrics>,
    applied_index: watch::Receiver<u64>,
    renewer: Renewer,
    /// Whoever notes what is left of leases, or takes notes back, has it.
    checkpoints: tokio::sync::Mutex<()>,
    permits: Semaphore,
    requests_max: usize,
    /// Proposals for this member's own log.
    lead: Queue,
    /// Proposals for the leader that was heard of last.
    forward: Mutex<Option<(Leader, Queue)>>,
    reads: Reads,
    /// Silence after which the leader is taken for lost.
    silence: Duration,
    /// When the leader was last heard, and whose process has ended.
    vitals: Vitals,
    timing: Timing,
    /// A number that this process drew for itself.
    process: u64,
    /// How often a quiet watcher that asked for it is told the revision.
    watch_progress_interval: Duration,
    /// Until then it votes for nobody: see [`Cluster::may_vote`].
    votes_from: Instant,
    /// Held while this member, leading, changes the membership.
    changing: tokio::sync::Mutex<()>,
    /// Whether this member was removed from the cluster.
    removed: watch::Sender<bool>,
}

/// One member. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

/// What a cluster is made of.
pub(crate) struct Parts {
    pub(crate) id: u64,
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    pub(crate) hub: Arc<Hub>,
    pub(crate) lessor: Arc<Lessor>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) applied_index: watch::Receiver<u64>,
    pub(crate) renewer: Renewer,
    pub(crate) requests_max: usize,
    /// The longest election timeout.
    pub(crate) silence: Duration,
    pub(crate) timing: Timing,
    pub(crate) process: u64,
    pub(crate) watch_progress_interval: Duration,
    /// Whether it has been up before.
    pub(crate) returns: bool,
}

impl From<Denied> for ClusterError {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Cluster {
    /// Puts the parts together and starts what serves its queues; that ends when the last clone is gone.
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let (lead, batches) = queue::queue(parts.requests_max);
        tokio::spawn(lead::run(batches, parts.raft.clone(), Arc::clone(&parts.metrics)));
        let (reads, asked) = reads::queue(parts.requests_max);
        tokio::spawn(reads::run(asked, parts.id, parts.raft.clone(), parts.peers.clone()));
        Self(Arc::new(Inner {
            id: parts.id,
            raft: parts.raft,
            store: parts.store,
            hub: parts.hub,
            lessor: parts.lessor,
            auth: parts.auth,
            peers: parts.peers,
            metrics: parts.metrics,
            applied_index: parts.applied_index,
            renewer: parts.renewer,
            checkpoints: tokio::sync::Mutex::default(),
            permits: Semaphore::new(parts.requests_max),
            requests_max: parts.requests_max,
            lead,
            forward: Mutex::new(None),
            reads,
            silence: parts.silence,
            vitals: Vitals::new(now),
            timing: parts.timing,
            process: parts.process,
            watch_progress_interval: parts.watch_progress_interval,
            votes_from: if parts.returns { now + parts.timing.lease } else { now },
            changing: tokio::sync::Mutex::new(()),
            removed: watch::Sender::new(false),
        }))
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        self.0.peers.cluster_id()
    }

    /// The URL of a member's peer listener.
    pub(crate) fn peer_url(&self, address: &str) -> String {
        self.0.peers.url(address)
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn watch_progress_interval(&self) -> Duration {
        self.0.watch_progress_interval
    }

    pub(crate) fn lessor(&self) -> &Lessor {
        &self.0.lessor
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    /// The applied log index, for those who wait for it.
    pub(crate) fn applied_index(&self) -> watch::Receiver<u64> {
        self.0.applied_index.clone()
    }

    pub(crate) fn term(&self) -> u64 {
        self.0.raft.metrics().borrow_watched().current_term
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        self.0.raft.metrics().borrow_watched().current_leader
    }

    /// Whether it may vote for another member. One that has just come back does not know that it confirmed a leader
    /// a moment ago; that leader answers reads without asking, for as long as nobody who confirmed it votes anew.
    pub(crate) fn may_vote(&self) -> bool {
        Instant::now() >= self.0.votes_from
    }

    pub(crate) fn vitals(&self) -> &Vitals {
        &self.0.vitals
    }

    pub(crate) fn timing(&self) -> Timing {
        self.0.timing
    }

    pub(crate) fn process(&self) -> u64 {
        self.0.process
    }

    /// A message of a leader has come. One of a former leader, which knows nothing of a higher vote, does not count.
    pub(crate) fn heard_from(&self, vote: &Vote) {
        if *vote >= self.0.raft.metrics().borrow_watched().vote {
            self.0.vitals.heard(Instant::now());
        }
    }

    /// What this member sees, for elections.
    pub(crate) fn seen(&self, now: Instant) -> Seen {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (own, vitals) = (self.0.id, &self.0.vitals);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let leads = metrics.state == ServerState::Leader;
        let leader = metrics.current_leader.filter(|leader| *leader != own);
        let (quiet, new) = vitals.quiet(now);
        let before = voters
            .iter()
            .filter(|id| **id < own && Some(**id) != leader && !vitals.is_absent(**id));
        Seen {
            may_stand: voters.contains(&own) && !leads,
            alone: voters == [own],
            quiet,
            new,
            gone: leader.is_none_or(|leader| vitals.leader_has_ended(leader)),
            rank: u32::try_from(before.count()).unwrap_or(u32::MAX),
        }
    }

    /// Whether it says that it would vote for another. A leader does not as long as others confirm it.
    pub(crate) fn would_vote(&self) -> bool {
        let now = Instant::now();
        let leads = self.leader() == Some(self.0.id);
        if leads { !self.has_leader() } else { would_vote(self.0.timing, &self.seen(now)) }
    }

    /// How long a leader or a follower may be silent until it is taken for lost.
    pub(crate) fn patience(&self) -> Duration {
        self.0.silence
    }

    /// Whether there is a leader within reach: itself, confirmed by a quorum, or another that was heard lately.
    pub(crate) fn has_leader(&self) -> bool {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        match metrics.current_leader {
            Some(leader) if leader == self.0.id => {
                // A lone voter is its own quorum; openraft keeps no time for it.
                let alone = metrics.membership_config.voter_ids().nth(1).is_none();
                let confirmed = metrics.last_quorum_acked;
                let fresh =
                    confirmed.is_some_and(|at| openraft::Instant::elapsed(&*at) < self.0.silence);
                alone || fresh
            }
            Some(_) => self.0.vitals.quiet(Instant::now()).0 < self.0.silence,
            None => false,
        }
    }

    /// The Raft membership: id, peer address, whether it is a learner.
    pub(crate) fn membership(&self) -> Vec<(u64, Peer, bool)> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        membership.nodes().map(|(id, peer)| (*id, peer.clone(), !voters.contains(id))).collect()
    }

    /// What the members say of themselves.
    pub(crate) fn members(&self) -> Result<Vec<MemberInfo>, ViewError> {
        mvcc::members(&self.0.store.view())
    }

    /// One of the places for requests, or a quick refusal.
    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, ClusterError> {
        self.0.permits.try_acquire().map_err(|_| ClusterError::TooManyRequests)
    }

    /// Puts a command of this member's own into the log, through the leader, and answers with what applying it gave.
    /// What a client asks for goes by [`Self::propose_for`].
    pub(crate) async fn propose(&self, body: Body) -> Result<Outcome, ClusterError> {
        self.propose_as(body, "", 0).await
    }

    /// The same for a caller, who is judged where the command stands in the log. When users or roles have changed on
    /// its way there, it is tried again with what its caller is now.
    pub(crate) async fn propose_for(
        &self,
        caller: &Caller,
        body: Body,
    ) -> Result<Outcome, ClusterError> {
        if caller.user().is_empty() {
            return self.propose_as(body, "", caller.revision()).await;
        }
        let mut caller = caller.clone();
        for _ in 1..TRIES_MAX {
            let outcome = self.propose_as(body.clone(), caller.user(), caller.revision()).await?;
            if outcome.refusal != Refusal::AuthOldRevision as u32 {
                return Ok(outcome);
            }
            let revision = outcome.auth.map_or(0, |auth| auth.revision);
            let renewing = self.auth().renewed(&caller, revision, self.applied_index());
            let renewed = tokio::time::timeout(REQUEST_TIMEOUT, renewing).await;
            match renewed.map_err(|_| self.late())? {
                Some(renewed) => caller = renewed.map_err(ClusterError::Denied)?,
                None => return Ok(outcome),
            }
        }
        self.propose_as(body, caller.user(), caller.revision()).await
    }

    async fn propose_as(
        &self,
        body: Body,
        auth_user: &str,
        auth_revision: u64,
    ) -> Result<Outcome, ClusterError> {
        if let Some(refused) = self.refused_by_alarm(&body).await? {
            return Ok(refused);
        }
        let span = debug_span!("propose");
        let command = Command {
            time_ms: now_ms(),
            body: Some(body),
            trace_parent: watchkeep_api::trace::trace_parent(&span).unwrap_or_default(),
            auth_user: auth_user.to_owned(),
            auth_revision,
        };
        let command = Bytes::from(command.encode_to_vec());
        let _pending = self.0.metrics.proposal();
        let proposing = async {
            loop {
                match self.propose_once(command.clone()).await {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, proposing.instrument(span)).await;
        let answer = answer.unwrap_or_else(|_| Err(self.late()));
        if answer.is_err() {
            self.0.metrics.proposals_failed.inc();
        }
        answer
    }

    /// Keeps out of the log what an alarm refuses anyway. This member may not know yet that the alarm has ended, so it asks
    /// the leader first.
    async fn refused_by_alarm(&self, body: &Body) -> Result<Option<Outcome>, ClusterError> {
        if refused_by(self.0.store.alarms(), body).is_none() {
            return Ok(None);
        }
        let view = self.linearizable_view().await?;
        let applied = view.applied();
        Ok(refused_by(applied.alarms, body).map(|refusal| Outcome {
            refusal: refusal as u32,
            revision: applied.revision,
            term: applied.term,
            ..Outcome::default()
        }))
    }

    fn late(&self) -> ClusterError {
        if !self.has_leader() { ClusterError::NoLeader } else { ClusterError::Timeout }
    }

    async fn propose_once(&self, command: Bytes) -> Result<Outcome, ClusterError> {
        let answer = match self.remote_leader() {
            Some(leader) => self.forward(leader).push(command)?,
            None => self.0.lead.push(command)?,
        };
        // Whoever had it has ended without a word.
        answer.await.unwrap_or(Err(ClusterError::LeaderChanged))
    }

    /// The leader, when it is known and another member.
    fn remote_leader(&self) -> Option<Leader> {
        remote_leader(&self.0.raft, self.0.id)
    }

    /// The queue to a leader. That to a former one is served until all in it is answered.
    fn forward(&self, leader: Leader) -> Queue {
        let mut forward = self.0.forward.lock().unwrap_or_else(PoisonError::into_inner);
        match &*forward {
            Some((to, queue)) if *to == leader => queue.clone(),
            _ => {
                let (queue, batches) = queue::queue(self.0.requests_max);
                let (peers, applied) = (self.0.peers.clone(), self.0.applied_index.clone());
                tokio::spawn(forward::run(batches, peers, leader.clone(), applied));
                *forward = Some((leader, queue.clone()));
                queue
            }
        }
    }

    /// Puts another member's batch of commands into the log, if this member leads. Answers when all are answered.
    pub(crate) async fn propose_all(&self, commands: Vec<Bytes>) -> Answers {
        let waiting: Vec<_> =
            commands.into_iter().map(|command| self.0.lead.push(command)).collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(forward::proposed(match answer {
                Ok(answer) => answer.await.unwrap_or(Err(ClusterError::LeaderChanged)),
                Err(refused) => Err(refused),
            }));
        }
        Answers { answers }
    }

    /// Puts a command into the log if this member leads.
    async fn propose_here(&self, command: Bytes) -> Result<Outcome, ClusterError> {
        match self.0.raft.client_write(Encoded(command)).await {
            Ok(written) => written.data.outcome.ok_or(ClusterError::Stopped),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(ClusterError::NotLeader)
            }
            Err(RaftError::APIError(_)) => Err(ClusterError::LeaderChanged),
            Err(RaftError::Fatal(_)) => Err(ClusterError::Stopped),
        }
    }

    /// Revokes a lease that ran out while this member led in `term`. Never by way of another leader: that one knows
    /// of renewals that this one does not.
    pub(crate) async fn expire(&self, id: i64, term: u64) -> Result<(), ClusterError> {
        let body = Some(Body::Revoke(Revoke { id, term }));
        let command = Command { time_ms: now_ms(), body, ..Command::default() };
        let outcome = self.propose_here(command.encode_to_vec().into()).await?;
        if outcome.refusal == 0 {
            self.0.metrics.etcd.leases_expired.inc();
        }
        // It stays as it is until the alarm ends.
        if outcome.refusal == Refusal::Corrupt as u32 { Err(ClusterError::Corrupt) } else { Ok(()) }
    }

    /// A view that has everything that was acknowledged before this call.
    pub(crate) async fn linearizable_view(&self) -> Result<StoreView, ClusterError> {
        self.catch_up().await?;
        Ok(self.0.store.view())
    }

    /// Waits until everything is applied here that was acknowledged before this call.
    pub(crate) async fn catch_up(&self) -> Result<(), ClusterError> {
        let reading = async {
            let index = loop {
                match self.0.reads.index().await {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    found => break found?.index,
                }
            };
            if *self.0.applied_index.borrow() >= index {
                return Ok(());
            }
            let mut applied = self.0.applied_index.clone();
            let reached = applied.wait_for(|applied| *applied >= index).await;
            reached.map(|_| ()).map_err(|_| ClusterError::Stopped)
        };
        let began = Instant::now();
        let read = tokio::time::timeout(REQUEST_TIMEOUT, reading).await;
        if began.elapsed() > SLOW_READ_INDEX {
            self.0.metrics.etcd.slow_read_indexes.inc();
        }
        if !matches!(read, Ok(Ok(()))) {
            self.0.metrics.etcd.read_indexes_failed.inc();
        }
        read.unwrap_or_else(|_| Err(self.late()))
    }

    /// The index that a linearizable read must have applied, if this member leads.
    pub(crate) async fn read_index_here(&self) -> Result<u64, ClusterError> {
        if self.remote_leader().is_some() {
            return Err(ClusterError::NotLeader);
        }
        let found = self.0.reads.index().await?;
        if found.here { Ok(found.index) } else { Err(ClusterError::NotLeader) }
    }

    /// Renews leases, wherever the leader is; answers in their order.
    pub(crate) async fn renew(&self, ids: Vec<i64>) -> Result<Vec<LeaseResponse>, ClusterError> {
        self.0.renewer.renew(ids).await
    }

    /// Renews leases on the leader, for [`crate::renewal`].
    pub(crate) async fn renew_batch(
        &self,
        ids: &[i64],
    ) -> Result<Vec<LeaseResponse>, ClusterError> {
        let asking = async {
            loop {
                let answer = match self.remote_leader() {
                    Some(leader) => {
                        let answer = self.0.peers.renew(leader.id, &leader.address, ids).await;
                        answer.map_err(|_| ClusterError::NotLeader)
                    }
                    None => self.renew_here(ids).await,
                };
                match answer {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, asking).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// What is left of a lease, asked of the leader.
    pub(crate) async fn lease(&self, id: i64) -> Result<LeaseResponse, ClusterError> {
        let asking = async {
            loop {
                let answer = match self.remote_leader() {
                    Some(leader) => {
                        let answer = self.0.peers.lease(leader.id, &leader.address, id).await;
                        answer.map_err(|_| ClusterError::NotLeader)
                    }
                    None => self.lease_here(id).await,
                };
                match answer {
                    Err(ClusterError::NotLeader) => tokio::time::sleep(PAUSE).await,
                    other => return other,
                }
            }
        };
        tokio::time::timeout(REQUEST_TIMEOUT, asking).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Renews leases if this member leads, which it makes sure of first: a leader that was replaced must not promise
    /// what its successor does not know.
    pub(crate) async fn renew_here(&self, ids: &[i64]) -> Result<Vec<LeaseResponse>, ClusterError> {
        self.read_index_here().await?;
        for _ in 0..RENEW_TRIES {
            let renewals = self.0.lessor.renew(ids, Instant::now());
            // Just elected: it does not know yet what is left.
            let renewals = renewals.ok_or(ClusterError::NotLeader)?;
            if !renewals.contains(&Renewal::Noted) {
                self.0.metrics.leases_renewed.inc_by(ids.len() as u64);
                return Ok(renewals.into_iter().map(renewed).collect());
            }
            let _turn = self.0.checkpoints.lock().await;
            let (term, rests) = self.0.lessor.to_take_back(ids);
            for rests in rests.chunks(CHECKPOINTS_MAX) {
                self.checkpoint(term, rests.to_vec()).await?;
            }
        }
        Err(ClusterError::NotLeader)
    }

    /// What is left of a lease if this member leads.
    pub(crate) async fn lease_here(&self, id: i64) -> Result<LeaseResponse, ClusterError> {
        self.read_index_here().await?;
        if !self.0.lessor.leads() {
            return Err(ClusterError::NotLeader);
        }
        Ok(self.0.lessor.left(id, Instant::now()).map_or(NO_LEASE, response))
    }

    /// Notes in the log what is left of long leases, if this member leads.
    pub(crate) async fn note_leases(&self) -> Result<(), ClusterError> {
        let _turn = self.0.checkpoints.lock().await;
        let (term, rests) = self.0.lessor.to_note(Instant::now());
        if rests.is_empty() { Ok(()) } else { self.checkpoint(term, rests).await }
    }

    /// One checkpoint at a time: a note must not come after it has been taken back.
    async fn checkpoint(&self, term: u64, rests: Vec<LeaseRest>) -> Result<(), ClusterError> {
        let body = Some(Body::LeaseCheckpoint(LeaseCheckpoint { rests, term }));
        let command = Command { time_ms: now_ms(), body, ..Command::default() };
        let outcome = self.propose_here(command.encode_to_vec().into()).await?;
        match outcome.refusal {
            0 => Ok(()),
            refusal if refusal == Refusal::Corrupt as u32 => Err(ClusterError::Corrupt),
            _ => Err(ClusterError::NotLeader),
        }
    }

    /// Resolves when this member, which leads, has applied everything that was committed before it did.
    pub(crate) async fn applied_as_leader(&self) -> Result<(), ClusterError> {
        let index = self.read_index_here().await?;
        let mut applied = self.0.applied_index.clone();
        let reached = applied.wait_for(|applied| *applied >= index).await;
        reached.map(drop).map_err(|_| ClusterError::Stopped)
    }

    /// Whether the Raft core still runs; else why it ended.
    pub(crate) fn ended(&self) -> Option<String> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.as_ref().err().map(ToString::to_string)
    }
}

/// There is no such lease.
const NO_LEASE: LeaseResponse = LeaseResponse { left_ms: -1, granted_seconds: 0 };

fn response(left: Left) -> LeaseResponse {
    LeaseResponse {
        left_ms: i64::try_from(left.left.as_millis()).unwrap_or(i64::MAX),
        granted_seconds: left.granted_seconds,
    }
}

fn renewed(renewal: Renewal) -> LeaseResponse {
    match renewal {
        Renewal::Renewed(left) => response(left),
        Renewal::Unknown | Renewal::Noted => NO_LEASE,
    }
}

/// The leader, when it is known and another member than `id`.
fn remote_leader(raft: &Raft, id: u64) -> Option<Leader> {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader.filter(|leader| *leader != id)?;
    let peer = metrics.membership_config.membership().get_node(&leader)?;
    Some(Leader { id: leader, address: peer.address.clone() })
}

/// The proposer's clock, for records that carry a time. Applying never reads one.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
