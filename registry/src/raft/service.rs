//! What a member answers to the others.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use openraft::{
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderResponse},
    storage::Snapshot as RaftSnapshot,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::oneshot, time::Instant};
use tonic::{Request, Response, Status, Streaming};
use watchkeep_api::peer::{
    AddPeer, AliveResponse, Answers, ChangeMemberRequest, ChangeMemberResponse, Commands, Envelope,
    IdentityResponse, LeaseRequest, LeaseResponse, PeerMember, RangeHashRequest, RangeHashResponse,
    ReadIndexResponse, RenewRequest, RenewResponse, change_member_request::Change as Asked,
    peer_server::Peer,
};

use super::{
    SnapshotData,
    machine::log_id,
    types::{SnapshotMeta, TypeConfig, Vote},
};
use crate::{cluster::Cluster, corruption, members::Change, store::SnapshotWriter};

/// The service on the peer listener.
pub(crate) struct PeerService(pub(crate) Cluster);

type Answer<T> = Result<Response<T>, Status>;
type Answering<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Batches of one follower that are taken in before the first of them is answered.
const BATCHES_MAX: usize = 16;

impl PeerService {
    /// Refuses a caller of another cluster, or one that means another member.
    fn check(&self, cluster_id: u64, to: u64) -> Result<(), Status> {
        let own = (self.0.cluster_id(), self.0.id());
        if (cluster_id, to) == own {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "this is member {} of cluster {:x}, not member {to} of cluster {cluster_id:x}: \
             check initial_cluster on both sides",
            own.1, own.0
        )))
    }

    fn may_vote(&self) -> Result<(), Status> {
        if self.0.may_vote() {
            return Ok(());
        }
        Err(Status::unavailable(
            "this member has just come back; it votes when a leader it may have confirmed is no more",
        ))
    }

    fn open<T: DeserializeOwned>(&self, envelope: Envelope) -> Result<T, Status> {
        self.check(envelope.cluster_id, envelope.to)?;
        decode(&envelope.body)
    }

    fn close<T: Serialize>(&self, answer: &T) -> Answer<Envelope> {
        self.seal(answer).map(Response::new)
    }

    fn seal<T: Serialize>(&self, answer: &T) -> Result<Envelope, Status> {
        let body = postcard::to_stdvec(answer).map_err(|e| Status::internal(e.to_string()))?;
        Ok(self.envelope(body.into()))
    }

    fn envelope(&self, body: Bytes) -> Envelope {
        Envelope { cluster_id: self.0.cluster_id(), to: 0, body }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    postcard::from_bytes(body)
        .map_err(|e| Status::invalid_argument(format!("message cannot be read: {e}")))
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn append(&self, request: Request<Envelope>) -> Answer<Envelope> {
        let envelope = request.into_inner();
        let bytes = envelope.body.len();
        let rpc: AppendEntriesRequest<TypeConfig> = self.open(envelope)?;
        self.0.metrics().received(rpc.vote.leader_id.node_id, bytes);
        self.0.heard_from(&rpc.vote);
        let answer: AppendEntriesResponse<TypeConfig> =
            self.0.raft().append_entries(rpc).await.map_err(failed)?;
        self.close(&answer)
    }

    type AppendStreamStream = Answering<Envelope>;

    async fn append_stream(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Answer<Self::AppendStreamStream> {
        // What cannot be read ends the stream, after the answers to what came before it.
        let (refuse, refused) = oneshot::channel();
        let state = (request.into_inner(), PeerService(self.0.clone()), refuse);
        let appends = stream::unfold(state, |(mut envelopes, this, refuse)| async {
            let opened: Result<AppendEntriesRequest<TypeConfig>, _> =
                match envelopes.message().await {
                    Ok(Some(envelope)) => {
                        let bytes = envelope.body.len();
                        this.open(envelope).inspect(|append: &AppendEntriesRequest<TypeConfig>| {
                            this.0.metrics().received(append.vote.leader_id.node_id, bytes);
                        })
                    }
                    Ok(None) => return None,
                    Err(status) => Err(status),
                };
            match opened {
                Ok(append) => {
                    this.0.heard_from(&append.vote);
                    Some((append, (envelopes, this, refuse)))
                }
                Err(status) => {
                    // The caller may have gone.
                    let _ = refuse.send(status);
                    None
                }
            }
        });
        let this = PeerService(self.0.clone());
        let answers = self.0.raft().stream_append(appends).map(move |answer| {
            this.seal(&answer.map(AppendEntriesResponse::<TypeConfig>::from).map_err(failed)?)
        });
        let refused = stream::once(refused).filter_map(|refused| async { refused.ok().map(Err) });
        Ok(Response::new(Box::pin(answers.chain(refused))))
    }

    type ProposeStreamStream = Answering<Answers>;

    async fn propose_stream(
        &self,
        request: Request<Streaming<Commands>>,
    ) -> Answer<Self::ProposeStreamStream> {
        let this = PeerService(self.0.clone());
        let answers = request.into_inner().map(move |commands| {
            let checked = commands.and_then(|commands| {
                this.check(commands.cluster_id, commands.to).map(|()| commands.commands)
            });
            let cluster = this.0.clone();
            async move { Ok(cluster.propose_all(checked?).await) }
        });
        Ok(Response::new(Box::pin(answers.buffered(BATCHES_MAX))))
    }

    async fn vote(&self, request: Request<Envelope>) -> Answer<Envelope> {
        let rpc = self.open(request.into_inner())?;
        self.may_vote()?;
        let answer = self.0.raft().vote(rpc).await.map_err(failed)?;
        if answer.vote_granted {
            self.0.vitals().heard(Instant::now());
        }
        self.close(&answer)
    }

    async fn pre_vote(&self, request: Request<Envelope>) -> Answer<Envelope> {
        let rpc = self.open(request.into_inner())?;
        self.may_vote()?;
        if !self.0.would_vote() {
            return Err(Status::unavailable("this member hears the leader"));
        }
        self.close(&self.0.raft().pre_vote(rpc).await.map_err(failed)?)
    }

    async fn transfer_leader(&self, request: Request<Envelope>) -> Answer<Envelope> {
        let rpc = self.open(request.into_inner())?;
        let answer: TransferLeaderResponse<TypeConfig> =
            self.0.raft().handle_transfer_leader(rpc).await.map_err(failed)?;
        self.close(&answer)
    }

    async fn snapshot(&self, request: Request<Streaming<Envelope>>) -> Answer<Envelope> {
        let mut frames = request.into_inner();
        let head = frames
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("snapshot without a head"))?;
        self.check(head.cluster_id, head.to)?;
        let (vote, meta): (Vote, SnapshotMeta) = decode(&head.body)?;
        let mut file = SnapshotWriter::create(self.0.store().dir()).map_err(failed)?;
        while let Some(frame) = frames.next().await {
            file.write(&frame?.body).map_err(failed)?;
        }
        let file = tokio::task::spawn_blocking(move || file.finish())
            .await
            .map_err(failed)?
            .map_err(failed)?;
        if log_id(file.applied()) != meta.last_log_id {
            return Err(Status::invalid_argument(
                "snapshot: its content is not what its head says",
            ));
        }
        let snapshot = RaftSnapshot { meta, snapshot: SnapshotData::File(file) };
        let answer: SnapshotResponse<TypeConfig> =
            self.0.raft().install_full_snapshot(vote, snapshot).await.map_err(failed)?;
        self.close(&answer)
    }

    async fn read_index(&self, request: Request<Envelope>) -> Answer<ReadIndexResponse> {
        let envelope = request.into_inner();
        self.check(envelope.cluster_id, envelope.to)?;
        Ok(Response::new(ReadIndexResponse { index: self.0.read_index_here().await? }))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Answer<LeaseResponse> {
        let request = request.into_inner();
        self.check(request.cluster_id, request.to)?;
        Ok(Response::new(self.0.lease_here(request.id).await?))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<RenewResponse> {
        let request = request.into_inner();
        self.check(request.cluster_id, request.to)?;
        Ok(Response::new(RenewResponse { leases: self.0.renew_here(&request.ids).await? }))
    }

    type AliveStream = Pin<Box<dyn Stream<Item = Result<AliveResponse, Status>> + Send>>;

    async fn alive(&self, request: Request<Envelope>) -> Answer<Self::AliveStream> {
        let envelope = request.into_inner();
        self.check(envelope.cluster_id, envelope.to)?;
        let first = AliveResponse { process: self.0.process() };
        let life = futures::stream::once(std::future::ready(Ok(first)));
        Ok(Response::new(Box::pin(futures::StreamExt::chain(life, futures::stream::pending()))))
    }

    async fn identity(&self, _: Request<Envelope>) -> Answer<IdentityResponse> {
        Ok(Response::new(self.0.identity()?))
    }

    async fn change_member(
        &self,
        request: Request<ChangeMemberRequest>,
    ) -> Answer<ChangeMemberResponse> {
        let request = request.into_inner();
        self.check(request.cluster_id, request.to)?;
        let change = match request.change {
            Some(Asked::Add(AddPeer { address, is_learner })) => {
                Change::Add { address, is_learner }
            }
            Some(Asked::Promote(id)) => Change::Promote { id },
            Some(Asked::Remove(id)) => Change::Remove { id },
            Some(Asked::Update(PeerMember { id, address, .. })) => Change::Update { id, address },
            None => return Err(Status::invalid_argument("a change of members without a change")),
        };
        let (id, refusal) = match self.0.change_member_here(&change).await? {
            Ok(id) => (id, 0),
            Err(refusal) => (0, refusal as u32),
        };
        Ok(Response::new(ChangeMemberResponse { id, refusal }))
    }

    async fn range_hash(&self, request: Request<RangeHashRequest>) -> Answer<RangeHashResponse> {
        let request = request.into_inner();
        self.check(request.cluster_id, request.to)?;
        Ok(Response::new(corruption::answer(&self.0, request).await?))
    }
}
