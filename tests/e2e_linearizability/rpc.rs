//! One client's connection to one member: sends an operation, makes its answer plain.

use std::time::Duration;

use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use watchkeep_api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp,
        ResponseOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        kv_client::KvClient,
        request_op::Request,
        response_op::Response,
    },
    mvccpb,
};

use crate::history::{Action, Call, Ending, Event, Kv, Outcome, Step};

/// How long a client waits for an answer; then the end of its operation is unknown to it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it waits for a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// A connection that comes about with the first call.
pub(crate) fn channel(url: &str) -> Channel {
    endpoint(url).connect_lazy()
}

/// A connection that is there; none when nobody listens.
pub(crate) async fn connect(url: &str) -> Option<Channel> {
    tokio::time::timeout(CONNECT, endpoint(url).connect()).await.ok()?.ok()
}

/// Whose connections notice soon when they are dead.
fn endpoint(url: &str) -> Endpoint {
    Endpoint::from_shared(url.to_owned())
        .expect("an URL")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_millis(500))
        .keep_alive_timeout(Duration::from_secs(1))
        .keep_alive_while_idle(true)
}

/// What came of it, and the answer itself to a call that was answered.
pub(crate) async fn perform(channel: &Channel, action: &Action) -> Ending {
    match tokio::time::timeout(PATIENCE, call(channel, action)).await {
        Ok(Ok(outcome)) => Ending::Answered(outcome),
        Ok(Err(status)) if is_refusal(&status) => Ending::Refused,
        Ok(Err(_)) | Err(_) => Ending::Unknown,
    }
}

/// Errors that are given before anything is proposed.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::ResourceExhausted | Code::FailedPrecondition
    )
}

async fn call(channel: &Channel, action: &Action) -> Result<Outcome, Status> {
    let mut kv = KvClient::new(channel.clone());
    if action.call == Call::Txn {
        let request = TxnRequest {
            compare: action.when.iter().map(compare).collect(),
            success: action.then.iter().map(operation).collect(),
            failure: action.otherwise.iter().map(operation).collect(),
        };
        let answer = kv.txn(request).await?.into_inner();
        let found = answer.responses.into_iter().map(found).collect();
        let revision = answer.header.map_or(0, |header| header.revision);
        return Ok(Outcome { revision, held: answer.succeeded, found });
    }
    let step = action.then.first().expect("a step");
    let (header, found) = match request(step) {
        Request::RequestRange(mut request) => {
            request.serializable = action.call == Call::Serializable;
            let answer = kv.range(request).await?.into_inner();
            (answer.header, found(ResponseOp { response: Some(Response::ResponseRange(answer)) }))
        }
        Request::RequestPut(request) => {
            let answer = kv.put(request).await?.into_inner();
            (answer.header, answer.prev_kv.into_iter().map(plain).collect())
        }
        Request::RequestDeleteRange(request) => {
            let answer = kv.delete_range(request).await?.into_inner();
            (answer.header, answer.prev_kvs.into_iter().map(plain).collect())
        }
        Request::RequestTxn(_) => unreachable!("no step is a transaction"),
    };
    let revision = header.map_or(0, |header| header.revision);
    Ok(Outcome { revision, held: true, found: vec![found] })
}

fn compare((key, value): &(String, Option<String>)) -> Compare {
    let (target, union) = match value {
        Some(value) => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        None => (CompareTarget::Create, TargetUnion::CreateRevision(0)),
    };
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.clone().into(),
        target_union: Some(union),
        ..Compare::default()
    }
}

fn operation(step: &Step) -> RequestOp {
    RequestOp { request: Some(request(step)) }
}

fn request(step: &Step) -> Request {
    match step.clone() {
        Step::Put { key, value, lease } => Request::RequestPut(PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            prev_kv: true,
            ..PutRequest::default()
        }),
        Step::Delete { key } => Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.into(),
            prev_kv: true,
            ..DeleteRangeRequest::default()
        }),
        Step::Read { key } => {
            Request::RequestRange(RangeRequest { key: key.into(), ..RangeRequest::default() })
        }
        Step::Scan { prefix } => Request::RequestRange(RangeRequest {
            key: begin_of(&prefix).into(),
            range_end: end_of(&prefix).into(),
            ..RangeRequest::default()
        }),
    }
}

/// The first key that there can be with this prefix: none is empty.
pub(crate) fn begin_of(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() }
}

/// The first key behind all that begin with `prefix`; of the empty one: there is none, as etcd writes it.
pub(crate) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

fn found(response: ResponseOp) -> Vec<Kv> {
    match response.response {
        Some(Response::ResponseRange(RangeResponse { kvs, .. })) => {
            kvs.into_iter().map(plain).collect()
        }
        Some(Response::ResponsePut(put)) => put.prev_kv.into_iter().map(plain).collect(),
        Some(Response::ResponseDeleteRange(deleted)) => {
            deleted.prev_kvs.into_iter().map(plain).collect()
        }
        Some(Response::ResponseTxn(_)) | None => Vec::new(),
    }
}

fn plain(kv: mvccpb::KeyValue) -> Kv {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Kv {
        key: text(&kv.key),
        value: text(&kv.value),
        create: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// An event as it came.
pub(crate) fn event(event: mvccpb::Event) -> Event {
    Event {
        deleted: event.r#type() == mvccpb::event::EventType::Delete,
        kv: plain(event.kv.unwrap_or_default()),
        prev: event.prev_kv.map(plain),
    }
}
