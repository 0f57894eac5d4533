//! One member as the services see it, wherever the leader is: what it is made of. What it does is beside: [`proposals`], [`reads`],
//! [`leases`], [`standing`] (does it see a leader, would it vote), [`members`] and [`transfer`].

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use openraft::{async_runtime::watch::WatchReceiver, type_config::alias::WatchReceiverOf};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::Instant,
};

use crate::{
    auth::{Auth, Denied},
    election::{Timing, Vitals},
    lessor::Lessor,
    metrics::Metrics,
    mvcc::{self, ViewError},
    raft::{
        Peers,
        types::{Peer, Raft, RaftStanding, TypeConfig},
    },
    renewal::Renewer,
    schema::MemberInfo,
    store::Store,
    watch::Hub,
};

mod bug;
mod forward;
mod lead;
mod leases;
mod members;
mod proposals;
mod queue;
mod reads;
mod standing;
mod transfer;

use forward::Leader;
pub(crate) use members::Listed;
use queue::Queue;
use reads::Reads;
pub(crate) use transfer::NotMoved;

/// How long a request waits for a leader and for its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);
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
    /// Term, leader and membership as Raft has them: at hand, since each request asks.
    standing: WatchReceiverOf<TypeConfig, RaftStanding>,
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
            standing: parts.raft.server_metrics(),
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
        self.0.standing.borrow_watched().vote.leader_id.term
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        self.0.standing.borrow_watched().current_leader
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

    fn late(&self) -> ClusterError {
        if !self.has_leader() { ClusterError::NoLeader } else { ClusterError::Timeout }
    }

    /// The leader, when it is known and another member.
    fn remote_leader(&self) -> Option<Leader> {
        Leader::known(&self.0.standing.borrow_watched(), self.0.id)
    }

    /// Whether the Raft core still runs; else why it ended.
    pub(crate) fn ended(&self) -> Option<String> {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.running_state.as_ref().err().map(ToString::to_string)
    }
}

/// The leader's number and address, when it is known and another member than `id`.
fn remote(standing: &RaftStanding, id: u64) -> Option<(u64, &String)> {
    let leader = standing.current_leader.filter(|leader| *leader != id)?;
    let peer = standing.membership_config.membership().get_node(&leader)?;
    Some((leader, &peer.address))
}

impl Leader {
    /// The leader, when it is known and another member than `id`.
    fn known(standing: &RaftStanding, id: u64) -> Option<Self> {
        let (id, address) = remote(standing, id)?;
        Some(Self { id, address: address.clone() })
    }
}

/// The proposer's clock, for records that carry a time. Applying never reads one.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
