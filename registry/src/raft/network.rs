//! openraft's calls to other members, over gRPC.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use futures::Stream;
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, stream_append_sequential},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
        TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tonic::transport::Channel;
use tracing::{info, warn};
use watchkeep_api::peer::{Envelope, peer_client::PeerClient};

use super::{
    Peers, SnapshotData, pipeline,
    types::{Peer, Snapshot, TypeConfig, Vote},
};
use crate::{
    metrics::{Metrics, PeerMetrics},
    store::SnapshotReader,
};

/// Reasons that are said while a member is away.
const REASONS_MAX: usize = 16;

/// Frames of a snapshot that wait for the receiver.
const FRAMES_MAX: usize = 4;

/// Makes a connection for each member.
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link {
        Link {
            target,
            address: node.address.clone(),
            peers: self.peers.clone(),
            metrics: self.metrics.peer(target),
            said: Mutex::default(),
        }
    }
}

/// The way to one member.
pub(crate) struct Link {
    target: u64,
    address: String,
    peers: Peers,
    pub(super) metrics: PeerMetrics,
    /// Why entries do not reach it, as it has been said; empty while they do.
    said: Mutex<HashSet<String>>,
}

pub(super) type Failure = RPCError<TypeConfig>;

impl Link {
    pub(super) fn client(&self) -> Result<PeerClient<Channel>, Failure> {
        self.peers.client(&self.address()).map_err(|e| Unreachable::new(&e).into())
    }

    /// Where it is now: it may have moved since this was made.
    fn address(&self) -> String {
        self.peers.address(self.target).unwrap_or_else(|| self.address.clone())
    }

    /// Counts that entries do not reach it, and says why: each reason once, however often they are tried.
    pub(super) fn is_away(&self, failure: &Failure) {
        self.metrics.not_answered();
        let (mut said, reason) = (self.said(), failure.to_string());
        if said.len() < REASONS_MAX && said.insert(reason) {
            warn!(member = self.target, address = self.address(), %failure, "entries do not reach a member; trying on");
        }
    }

    /// Says that they do again, if they did not.
    pub(super) fn is_back(&self) {
        let mut said = self.said();
        if !said.is_empty() {
            said.clear();
            info!(member = self.target, "entries reach the member again");
        }
    }

    fn said(&self) -> MutexGuard<'_, HashSet<String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn envelope(&self, message: &impl Serialize) -> Result<Envelope, Failure> {
        let body = postcard::to_stdvec(message).map_err(|e| NetworkError::new(&e))?;
        Ok(self.peers.envelope(self.target, body.into()))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        option: &RPCOption,
        call: impl Future<Output = Result<tonic::Response<Envelope>, tonic::Status>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let limited = tokio::time::timeout(option.hard_ttl(), call).await;
        if !matches!(limited, Ok(Ok(_))) {
            self.metrics.not_answered();
        }
        let answer = limited.map_err(|e| Unreachable::new(&e))?.map_err(|s| unreachable(&s))?;
        self.metrics.round_trip.observe(began.elapsed().as_secs_f64());
        postcard::from_bytes(&answer.into_inner().body).map_err(|e| NetworkError::new(&e).into())
    }
}

/// What an append was answered.
pub(super) type Answered = Result<StreamAppendResult<TypeConfig>, Failure>;

pub(super) fn unreachable(status: &tonic::Status) -> Failure {
    Unreachable::from_string(format!("{:?}: {}", status.code(), status.message())).into()
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let (mut client, request) = (self.client()?, self.envelope(&rpc)?);
        self.metrics.sent_bytes.inc_by(request.body.len() as u64);
        self.answer(&option, client.append(request)).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Answered>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        // A heartbeat is one message: a call of its own is less than a stream.
        if input.size_hint().1 == Some(1) {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(pipeline::open(self, input))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let (mut client, request) = (self.client()?, self.envelope(&rpc)?);
        self.answer(&option, client.vote(request)).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let (mut client, request) = (self.client()?, self.envelope(&rpc)?);
        self.answer(&option, client.pre_vote(request)).await
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        let (mut client, request) = (self.client()?, self.envelope(&rpc)?);
        self.answer(&option, client.transfer_leader(request)).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let lost = |message: String| StreamingError::Unreachable(Unreachable::from_string(message));
        let SnapshotData::View(view) = snapshot.snapshot else {
            return Err(lost("only a snapshot of the own state can be sent".to_owned()));
        };
        let head = postcard::to_stdvec(&(vote, snapshot.meta)).map_err(|e| lost(e.to_string()))?;
        let (sender, frames) = tokio::sync::mpsc::channel(FRAMES_MAX);
        let peers = self.peers.clone();
        let target = self.target;
        // Reading the state blocks, so it has a thread of its own; it ends when nobody takes its frames.
        tokio::task::spawn_blocking(move || {
            let mut reader = SnapshotReader::new(view);
            let mut next = Ok(Some(Bytes::from(head)));
            while let Ok(Some(frame)) = next {
                if sender.blocking_send(peers.envelope(target, frame)).is_err() {
                    return;
                }
                next = reader.next_frame();
            }
            if let Err(error) = next {
                tracing::error!(%error, "snapshot cannot be read");
            }
        });
        let mut client = self.peers.client(&self.address()).map_err(|e| lost(e.to_string()))?;
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
        let began = Instant::now();
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = client.snapshot(stream) => answer.map_err(|s| lost(s.message().to_owned()))?,
        };
        self.metrics.snapshot_seconds.observe(began.elapsed().as_secs_f64());
        postcard::from_bytes(&answer.into_inner().body).map_err(|e| lost(e.to_string()))
    }
}
