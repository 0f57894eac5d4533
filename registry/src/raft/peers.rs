//! Connections to the other members.

use std::{
    collections::HashMap,
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tonic::{Code, Status, Streaming, transport::Channel};
use watchkeep_api::{
    peer::{
        AddPeer, AliveResponse, ChangeMemberRequest, Envelope, IdentityResponse, LeaseRequest,
        LeaseResponse, PeerMember, RangeHashRequest, RangeHashResponse, RenewRequest,
        change_member_request::Change as Asked, peer_client::PeerClient,
    },
    tls::{self, ClientTls},
};

use crate::members::{Change, Refusal};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A member that vanished without a word is noticed by pings.
const PING: Duration = Duration::from_secs(2);

/// Why a call to another member failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The call did not reach it, or it is not the leader: safe to try elsewhere.
    #[error("member did not take the request: {0}")]
    NotTaken(String),
    /// It may have taken the request.
    #[error("member did not answer: {0}")]
    Lost(String),
}

/// Connections to members by address, opened on first use and kept.
#[derive(Clone)]
pub(crate) struct Peers {
    cluster_id: u64,
    channels: Arc<Mutex<HashMap<String, Channel>>>,
    /// Where each member is now: what an open replication was told may be old.
    addresses: Arc<Mutex<HashMap<u64, String>>>,
    tls: Option<ClientTls>,
}

impl Peers {
    /// With `tls`, every connection is made with it.
    pub(crate) fn new(cluster_id: u64, tls: Option<ClientTls>) -> Self {
        Self { cluster_id, channels: Arc::default(), addresses: Arc::default(), tls }
    }

    /// The same connections, for a member of another cluster: before a member joins, it knows of none.
    pub(crate) fn of_cluster(&self, cluster_id: u64) -> Self {
        Self { cluster_id, ..self.clone() }
    }

    /// Where the members are from now on.
    pub(crate) fn set_addresses(&self, addresses: HashMap<u64, String>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Where a member is, if that is known.
    pub(crate) fn address(&self, id: u64) -> Option<String> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The URL of a member's peer listener.
    pub(crate) fn url(&self, address: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    pub(crate) fn client(
        &self,
        address: &str,
    ) -> Result<PeerClient<Channel>, tonic::transport::Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = if let Some(channel) = channels.get(address) {
            channel.clone()
        } else {
            let endpoint = tls::endpoint(&self.url(address))?
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(PING)
                .keep_alive_timeout(PING);
            let channel = tls::channel(endpoint, self.tls.as_ref());
            channels.insert(address.to_owned(), channel.clone());
            channel
        };
        Ok(PeerClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX))
    }

    pub(crate) fn envelope(&self, to: u64, body: Bytes) -> Envelope {
        Envelope { cluster_id: self.cluster_id, to, body }
    }

    /// The index that a linearizable read must have applied.
    pub(crate) async fn read_index(&self, to: u64, address: &str) -> Result<u64, PeerError> {
        let mut client = self.client(address).map_err(|e| PeerError::NotTaken(e.to_string()))?;
        let answer = client.read_index(self.envelope(to, Bytes::new())).await;
        // A read may be asked again whatever happened.
        answer
            .map(|a| a.into_inner().index)
            .map_err(|s| PeerError::NotTaken(s.message().to_owned()))
    }

    /// What another member's data hashes to.
    pub(crate) async fn range_hash(
        &self,
        address: &str,
        request: RangeHashRequest,
    ) -> Result<RangeHashResponse, PeerError> {
        let mut client = self.client(address).map_err(|e| PeerError::NotTaken(e.to_string()))?;
        let answer = client.range_hash(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|s| PeerError::NotTaken(s.message().to_owned()))
    }

    /// The number of a member's process, and a stream that ends with it.
    pub(crate) async fn alive(
        &self,
        to: u64,
        address: &str,
    ) -> Result<(u64, Streaming<AliveResponse>), Status> {
        let unusable = |e: tonic::transport::Error| Status::unavailable(e.to_string());
        let mut client = self.client(address).map_err(unusable)?;
        let mut life = client.alive(self.envelope(to, Bytes::new())).await?.into_inner();
        let first = life.message().await?.ok_or_else(|| Status::unavailable("it said nothing"))?;
        Ok((first.process, life))
    }

    /// Renews leases.
    pub(crate) async fn renew(
        &self,
        to: u64,
        address: &str,
        ids: &[i64],
    ) -> Result<Vec<LeaseResponse>, PeerError> {
        let mut client = self.client(address).map_err(|e| PeerError::NotTaken(e.to_string()))?;
        let request = RenewRequest { cluster_id: self.cluster_id, to, ids: ids.to_vec() };
        let answer = client.renew(request).await;
        answer
            .map(|answer| answer.into_inner().leases)
            .map_err(|s| PeerError::NotTaken(s.message().to_owned()))
    }

    /// Asks what is left of a lease.
    pub(crate) async fn lease(
        &self,
        to: u64,
        address: &str,
        id: i64,
    ) -> Result<LeaseResponse, PeerError> {
        let mut client = self.client(address).map_err(|e| PeerError::NotTaken(e.to_string()))?;
        let request = LeaseRequest { cluster_id: self.cluster_id, to, id };
        let answer = client.lease(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|s| PeerError::NotTaken(s.message().to_owned()))
    }
}

impl Peers {
    /// Who is at `address`; none when nobody answers within `limit`.
    pub(crate) async fn identity(
        &self,
        address: &str,
        limit: Duration,
    ) -> Option<IdentityResponse> {
        self.identity_or_why(address, limit).await.ok()
    }

    /// The same.
    ///
    /// # Errors
    /// Nothing when nobody is there, or not in time; what was said instead, by somebody who is.
    pub(crate) async fn identity_or_why(
        &self,
        address: &str,
        limit: Duration,
    ) -> Result<IdentityResponse, Option<String>> {
        let mut client = self.client(address).map_err(|error| Some(error.to_string()))?;
        let asked = client.identity(self.envelope(0, Bytes::new()));
        let answer = tokio::time::timeout(limit, asked).await.map_err(|_| None)?;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| (!is_refused(&status)).then(|| watchkeep_api::causes(&status)))
    }

    /// Lets the leader change the members.
    pub(crate) async fn change_member(
        &self,
        to: u64,
        address: &str,
        change: &Change,
    ) -> Result<Result<u64, Refusal>, PeerError> {
        let mut client = self.client(address).map_err(|e| PeerError::NotTaken(e.to_string()))?;
        let change = match change.clone() {
            Change::Add { address, is_learner } => Asked::Add(AddPeer { address, is_learner }),
            Change::Promote { id } => Asked::Promote(id),
            Change::Remove { id } => Asked::Remove(id),
            Change::Update { id, address } => {
                Asked::Update(PeerMember { id, address, is_learner: false })
            }
        };
        let request = ChangeMemberRequest { cluster_id: self.cluster_id, to, change: Some(change) };
        let answer = client.change_member(request).await.map_err(|s| failed(&s))?.into_inner();
        match answer.refusal {
            0 => Ok(Ok(answer.id)),
            number => Refusal::from_number(number)
                .map(Err)
                .ok_or_else(|| PeerError::Lost(format!("refusal {number} is not known here"))),
        }
    }
}

/// A member that is not the leader says `FailedPrecondition`; a connection that was refused never carried the
/// request. Everything else may have been taken.
fn failed(status: &Status) -> PeerError {
    if status.code() == Code::FailedPrecondition || is_refused(status) {
        return PeerError::NotTaken(status.message().to_owned());
    }
    PeerError::Lost(status.message().to_owned())
}

/// What lies behind a status.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Error::source(status), |error| (**error).source())
}

/// Whether nobody listens there.
fn is_refused(status: &Status) -> bool {
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    causes(status).any(|error| error.downcast_ref().is_some_and(is_refused))
}
