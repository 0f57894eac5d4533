//! Calls with keys as bytes and the wire's own messages, for copying what is not ours.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseTimeToLiveRequest, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
    lease_client::LeaseClient, watch_client::WatchClient, watch_request::RequestUnion,
};

use super::{ATTEMPT, Client, ClientError, kv};

/// How long one endpoint may take to read a page.
const PAGE: Duration = Duration::from_secs(30);
/// Requests on a watch that wait to be sent.
const REQUESTS_MAX: usize = 8;

/// An open watch.
pub(crate) struct RawWatch {
    /// Its answers.
    pub(crate) answers: Streaming<WatchResponse>,
    /// Its requests: it lasts as long as this does.
    pub(crate) requests: mpsc::Sender<WatchRequest>,
}

impl Client {
    /// Reads a range.
    pub(crate) async fn raw_range(
        &self,
        what: &str,
        request: RangeRequest,
    ) -> Result<RangeResponse, ClientError> {
        let answer = self.retry(what, PAGE, |channel| {
            let request = request.clone();
            async move { kv(channel).range(request).await }
        });
        Ok(answer.await?.into_inner())
    }

    /// Runs a transaction, again when an endpoint fails: it must be such that running it twice does no harm.
    pub(crate) async fn raw_txn(
        &self,
        what: &str,
        request: TxnRequest,
    ) -> Result<TxnResponse, ClientError> {
        let answer = self.retry(what, PAGE, |channel| {
            let request = request.clone();
            async move { kv(channel).txn(request).await }
        });
        Ok(answer.await?.into_inner())
    }

    /// What is left of a lease and what was granted, in seconds; none when there is no such lease.
    pub(crate) async fn raw_time_to_live(
        &self,
        id: i64,
    ) -> Result<Option<(i64, i64)>, ClientError> {
        let what = format!("time to live of lease {id:x}");
        let answer = self
            .retry(&what, ATTEMPT, |channel| async move {
                let request = LeaseTimeToLiveRequest { id, keys: false };
                LeaseClient::new(channel).lease_time_to_live(request).await
            })
            .await;
        match answer {
            Ok(answer) => {
                let answer = answer.into_inner();
                Ok((answer.ttl > 0).then_some((answer.ttl, answer.granted_ttl)))
            }
            Err(ClientError::Status { code: Code::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Grants a lease with this id; one that is there already is no error.
    pub(crate) async fn raw_grant(&self, id: i64, ttl: i64) -> Result<(), ClientError> {
        let what = format!("grant lease {id:x}");
        let answer = self
            .retry(&what, ATTEMPT, |channel| async move {
                LeaseClient::new(channel).lease_grant(LeaseGrantRequest { ttl, id }).await
            })
            .await;
        match answer {
            Err(ClientError::Status { code: Code::FailedPrecondition, message, .. })
                if message.contains("lease already exists") =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The ids of all leases.
    pub(crate) async fn raw_leases(&self) -> Result<Vec<i64>, ClientError> {
        let answer = self
            .retry("list leases", PAGE, |channel| async move {
                let mut client = LeaseClient::new(channel).max_decoding_message_size(usize::MAX);
                client.lease_leases(LeaseLeasesRequest {}).await
            })
            .await?;
        Ok(answer.into_inner().leases.into_iter().map(|lease| lease.id).collect())
    }

    /// Opens a watch at the endpoint in use.
    pub(crate) async fn raw_watch(
        &self,
        create: WatchCreateRequest,
    ) -> Result<RawWatch, ClientError> {
        let (at, channel) = self.endpoints.current();
        let (requests, stream) = mpsc::channel(REQUESTS_MAX);
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // There is room for it, and the receiver is here.
        let _ = requests.try_send(create);
        let link = self.login.link(channel).await;
        let link = link.map_err(|status| self.endpoints.error(at, "watch", &status))?;
        let mut client = WatchClient::new(link).max_decoding_message_size(usize::MAX);
        match client.watch(ReceiverStream::new(stream)).await {
            Ok(answers) => Ok(RawWatch { answers: answers.into_inner(), requests }),
            Err(status) => {
                self.endpoints.rotate(at);
                Err(self.endpoints.error(at, "watch", &status))
            }
        }
    }
}
