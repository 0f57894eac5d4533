//! The queue in which locks and elections wait, laid out as etcd's `client/v3/concurrency` does it, so that those who wait
//! by it and those who wait here stand in one line: a key `{name}/{lease, hexadecimal}` for each, under its lease. Whoever
//! has the oldest key is first; everybody else waits until the next older one is deleted.
//!
//! ```text
//! jobs/694d7a   create revision 12   holds
//! jobs/694d81                   15   waits for jobs/694d7a
//! jobs/694d7f                   16   waits for jobs/694d81
//! ```
//!
//! The queue is a client of the services beside it, in this process: so whoever calls may do what its user may do.

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;
use tonic::{Request, Status, metadata::MetadataMap};
use watchkeep_api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse,
        RequestOp, ResponseHeader, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest,
        WatchResponse, compare, kv_client::KvClient, lease_client::LeaseClient, range_request,
        request_op, response_op, watch_client::WatchClient, watch_create_request::FilterType,
        watch_request,
    },
    mvccpb::{KeyValue, event::EventType},
};

use crate::auth::PeerCertificate;

/// TTL of a lease that is granted for a caller who brings none: etcd's.
const TTL_SECONDS: i64 = 60;
/// Callers that wait at once, in all queues.
const WAITING_MAX: usize = 16_384;
/// What of a caller's metadata goes on: who it is, and its trace.
const PASSED_ON: [&str; 4] = ["token", "authorization", "traceparent", "tracestate"];

/// All queues of this member.
#[derive(Clone)]
pub(super) struct Queues {
    services: Router,
    places: Arc<Semaphore>,
}

impl Queues {
    /// Queues over these services.
    pub(super) fn new(services: Router) -> Self {
        Self { services, places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// For one call.
    pub(super) fn of<T>(&self, request: &Request<T>) -> Session {
        let mut metadata = MetadataMap::new();
        for name in PASSED_ON {
            if let Some(value) = request.metadata().get(name) {
                metadata.insert(name, value.clone());
            }
        }
        let certificate = request.extensions().get::<PeerCertificate>().cloned();
        Session { services: self.services.clone(), metadata, certificate }
    }

    /// A place to wait, for as long as it is held.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| Status::resource_exhausted("etcdserver: too many requests"))
    }
}

/// An error as etcd's lock and election services pass it on: the text, and no code of its own.
pub(super) fn unknown(status: Status) -> Status {
    Status::unknown(status.message())
}

/// Refuses a queue without a name: its keys would be all those under `/`, Watchkeep's own among them, and whoever waits
/// for those to go waits for ever.
pub(super) fn named(name: &Bytes) -> Result<(), Status> {
    match name.is_empty() {
        false => Ok(()),
        true => Err(Status::invalid_argument(
            "watchkeep: a lock or an election needs a name: without one, every key under \"/\" would stand before it",
        )),
    }
}

/// The services in the name of one caller.
#[derive(Clone)]
pub(super) struct Session {
    services: Router,
    metadata: MetadataMap,
    certificate: Option<PeerCertificate>,
}

/// A key in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `{name}/`.
    pub(super) prefix: Bytes,
    /// The key.
    pub(super) key: Bytes,
    /// Its create revision.
    pub(super) revision: i64,
}

impl Session {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        request
    }

    fn kv(&self) -> KvClient<Router> {
        KvClient::new(self.services.clone()).max_decoding_message_size(usize::MAX)
    }

    /// The caller's lease, or a new one.
    pub(super) async fn lease(&self, lease: i64) -> Result<i64, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let request = self.request(LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 });
        Ok(LeaseClient::new(self.services.clone()).lease_grant(request).await?.into_inner().id)
    }

    /// Queues up, or finds the place that this lease has already: then its value is not changed. Whoever goes away at any
    /// moment leaves no new place behind: so this is done even when nobody waits for it any more.
    pub(super) async fn enter(
        &self,
        name: &Bytes,
        lease: i64,
        value: Bytes,
    ) -> Result<Entered, Status> {
        let (session, prefix) = (self.clone(), prefix(name));
        let entering = tokio::spawn(async move { session.put_place(prefix, lease, value).await });
        entering.await.map_err(|e| Status::internal(e.to_string()))?
    }

    async fn put_place(self, prefix: Bytes, lease: i64, value: Bytes) -> Result<Entered, Status> {
        let key = place_key(&prefix, lease);
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let answer = self
            .txn(TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![op(request_op::Request::RequestPut(put))],
                failure: vec![op(request_op::Request::RequestRange(get))],
            })
            .await?;
        let header = answer.header;
        if answer.succeeded {
            let revision = header.as_ref().map_or(0, |header| header.revision);
            let place = Place { prefix, key, revision };
            let leaving = Leaving(Some((self, place.clone())));
            return Ok(Entered { place, held: None, header, leaving });
        }
        let found = answer.responses.into_iter().find_map(|response| match response.response? {
            response_op::Response::ResponseRange(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        let found = found.ok_or_else(|| Status::internal("a key is there and is not"))?;
        let place = Place { prefix, key, revision: found.create_revision };
        // Another call of the same lease has made it: it is not this one's to give up.
        Ok(Entered { place, held: Some(found), header, leaving: Leaving(None) })
    }

    /// Waits until nobody is before `place`.
    pub(super) async fn wait(&self, place: &Place) -> Result<(), Status> {
        loop {
            let before = self
                .range(RangeRequest {
                    key: place.prefix.clone(),
                    range_end: end(&place.prefix),
                    limit: 1,
                    sort_order: range_request::SortOrder::Descend.into(),
                    sort_target: range_request::SortTarget::Create.into(),
                    max_create_revision: place.revision - 1,
                    keys_only: true,
                    ..RangeRequest::default()
                })
                .await?;
            let revision = before.header.map_or(0, |header| header.revision);
            let Some(before) = before.kvs.into_iter().next() else { return Ok(()) };
            self.deleted(before.key, revision + 1).await?;
        }
    }

    /// Waits until the key is deleted, or until its history is gone and it must be looked for anew.
    async fn deleted(&self, key: Bytes, from: i64) -> Result<(), Status> {
        let create = WatchCreateRequest {
            key,
            start_revision: from,
            filters: vec![FilterType::Noput.into()],
            ..WatchCreateRequest::default()
        };
        let mut answers = self.watch(create).await?;
        while let Some(answer) = answers.message().await? {
            if stale(&answer)? || answer.events.iter().any(|e| e.r#type() == EventType::Delete) {
                return Ok(());
            }
        }
        Err(Status::unknown("lost watcher waiting for delete"))
    }

    pub(super) async fn watch(
        &self,
        create: WatchCreateRequest,
    ) -> Result<tonic::Streaming<WatchResponse>, Status> {
        let create = watch_request::RequestUnion::CreateRequest(create);
        let create = WatchRequest { request_union: Some(create) };
        // The watch lasts for as long as its requests may come.
        let requests = self.request(tokio_stream::once(create).chain(tokio_stream::pending()));
        let mut client =
            WatchClient::new(self.services.clone()).max_decoding_message_size(usize::MAX);
        Ok(client.watch(requests).await?.into_inner())
    }

    pub(super) async fn range(&self, range: RangeRequest) -> Result<RangeResponse, Status> {
        Ok(self.kv().range(self.request(range)).await?.into_inner())
    }

    /// Who is first.
    pub(super) async fn holder(
        &self,
        name: &Bytes,
    ) -> Result<(Option<KeyValue>, Option<ResponseHeader>), Status> {
        let prefix = prefix(name);
        let answer = self
            .range(RangeRequest {
                range_end: end(&prefix),
                key: prefix,
                limit: 1,
                sort_order: range_request::SortOrder::Ascend.into(),
                sort_target: range_request::SortTarget::Create.into(),
                ..RangeRequest::default()
            })
            .await?;
        Ok((answer.kvs.into_iter().next(), answer.header))
    }

    /// Writes the key of a place, if the place still is the one meant.
    pub(super) async fn write(
        &self,
        key: &Bytes,
        revision: i64,
        lease: i64,
        value: Bytes,
    ) -> Result<TxnResponse, Status> {
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        self.if_created(key, revision, request_op::Request::RequestPut(put)).await
    }

    /// Gives the place up, if it still is the one meant.
    pub(super) async fn leave(&self, key: &Bytes, revision: i64) -> Result<TxnResponse, Status> {
        let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
        self.if_created(key, revision, request_op::Request::RequestDeleteRange(delete)).await
    }

    async fn if_created(
        &self,
        key: &Bytes,
        revision: i64,
        request: request_op::Request,
    ) -> Result<TxnResponse, Status> {
        let compare = vec![created_at(key, revision)];
        let success = vec![op(request)];
        self.txn(TxnRequest { compare, success, failure: Vec::new() }).await
    }

    async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        Ok(self.kv().txn(self.request(txn)).await?.into_inner())
    }

    /// Deletes a key, whoever's it is.
    pub(super) async fn delete(&self, key: Bytes) -> Result<Option<ResponseHeader>, Status> {
        let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
        Ok(self.kv().delete_range(self.request(delete)).await?.into_inner().header)
    }
}

/// Whether the watch was cancelled since its start is compacted. For any other reason it is an error.
pub(super) fn stale(answer: &WatchResponse) -> Result<bool, Status> {
    if answer.canceled && answer.compact_revision == 0 {
        return Err(Status::unknown(answer.cancel_reason.clone()));
    }
    Ok(answer.canceled)
}

/// What queueing up gave.
pub(super) struct Entered {
    /// The place.
    pub(super) place: Place,
    /// Its key, if the lease had it already.
    pub(super) held: Option<KeyValue>,
    /// Of the transaction that did it.
    pub(super) header: Option<ResponseHeader>,
    leaving: Leaving,
}

impl Entered {
    /// The place is kept.
    pub(super) fn keep(mut self) -> (Place, Option<ResponseHeader>) {
        self.leaving.0 = None;
        (self.place, self.header)
    }
}

/// Gives a place up when a waiter goes away, or its waiting fails, before it was first.
struct Leaving(Option<(Session, Place)>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let Some((session, place)) = self.0.take() else { return };
        // When the process ends there is nobody left to do it, and the lease will.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = session.leave(&place.key, place.revision).await {
                tracing::debug!(%error, "a waiter's key stays until its lease ends");
            }
        });
    }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Create.into(),
        key: key.clone(),
        target_union: Some(compare::TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

pub(super) fn prefix(name: &Bytes) -> Bytes {
    [name, &b"/"[..]].concat().into()
}

/// Go's `%x`: a negative number has a minus, not two's complement.
fn place_key(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let lease = format!("{sign}{:x}", lease.unsigned_abs());
    [prefix, lease.as_bytes()].concat().into()
}

/// The end of the keys under a prefix, whose last byte is a slash.
pub(super) fn end(prefix: &Bytes) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_etcds() {
        let prefix = prefix(&Bytes::from_static(b"jobs"));
        for (lease, key) in
            [(777, "jobs/309"), (-255, "jobs/-ff"), (i64::MIN, "jobs/-8000000000000000")]
        {
            assert_eq!(place_key(&prefix, lease), key);
        }
        assert_eq!(end(&prefix), "jobs0");
    }
}
