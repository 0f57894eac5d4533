//! The same requests as JSON: what etcd's gateway answers and what ours does, status and body, field by field.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use watchkeep_api::etcdserverpb::{LeaseLeasesRequest, LeaseRevokeRequest};

use crate::{first_seed, generate, intended, op::Op, pair::Pair, setting, side::Side};

const SEQUENCES: u64 = 60;
/// In a header, and each server's own.
const OWN: [&str; 3] = ["cluster_id", "member_id", "raft_term"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_answered_as_etcd_answers_it() {
    let first = first_seed();
    let count = setting("WATCHKEEP_SEQUENCES").unwrap_or(SEQUENCES);
    println!("WATCHKEEP_SEED={first} WATCHKEEP_SEQUENCES={count}");
    let pool = DescriptorPool::decode(watchkeep_api::DESCRIPTORS).expect("descriptors");
    let mut pair = Pair::start().await;
    for seed in first..first + count {
        let base = pair.reset().await.expect("both are there");
        for op in generate::sequence(seed) {
            let op = op.rebased(base);
            let Some((path, body)) = json(&pool, &op) else { continue };
            let (ours, theirs) =
                tokio::join!(post(&pair.watchkeep, path, &body), post(&pair.etcd, path, &body));
            let theirs = (newer_status(theirs.0), theirs.1);
            let same = ours == theirs || left_apart(&op, &ours, &theirs);
            assert!(
                same || is_intended(&ours, &theirs),
                "WATCHKEEP_SEED={seed} WATCHKEEP_SEQUENCES=1: {path} {body}\nwatchkeep: {ours:#?}\netcd: {theirs:#?}"
            );
        }
    }
    pair.stop().await;
}

#[tokio::test]
async fn odd_json_is_taken_or_refused_alike() {
    let mut pair = Pair::start().await;
    pair.reset().await.expect("both are there");
    for (path, body) in [
        ("/v3/kv/put", r#"{"key":"YQ==","value":"eA=="}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","value":"eA==","lease":"0","ignoreValue":false}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","value":"eA==","lease":0,"prev_kv":true}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","value":null}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","no such field":1}"#),
        ("/v3/kv/put", r#"{"key":1}"#),
        ("/v3/kv/put", r#"{"key":"no base64!"}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","lease":"x"}"#),
        ("/v3/kv/put", r#"{"key":"YQ==","lease":"9999999999999999999999"}"#),
        ("/v3/kv/put", r#"["key"]"#),
        ("/v3/kv/put", r#"{"key":"YQ==""#),
        ("/v3/kv/put", "{}"),
        ("/v3/kv/range", r#"{"key":"YQ==","sort_order":"DESCEND","sort_target":"VALUE"}"#),
        ("/v3/kv/range", r#"{"key":"YQ==","sort_order":2,"sort_target":4}"#),
        ("/v3/kv/range", r#"{"key":"YQ==","limit":"5","serializable":true}"#),
        ("/v3/kv/range", r#"{"key":"YQ==","limit":5.5}"#),
        ("/v3/kv/range", r#"{"key":"YQ==","rangeEnd":"Yg=="}"#),
        (
            "/v3/kv/txn",
            r#"{"compare":[{"key":"YQ==","target":"VALUE","value":"eA=="}],"success":[{"requestRange":{"key":"YQ=="}}]}"#,
        ),
        ("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"YQ==","value":"eQ=="}}]}"#),
        ("/v3/lease/grant", r#"{"TTL":"60","ID":"42"}"#),
        ("/v3/lease/timetolive", r#"{"ID":"42","keys":true}"#),
        ("/v3/lease/revoke", r#"{"ID":42}"#),
        ("/v3/lease/revoke", r#"{"ID":"42"}"#),
    ] {
        let (ours, theirs) =
            tokio::join!(post(&pair.watchkeep, path, body), post(&pair.etcd, path, body));
        let theirs = (newer_status(theirs.0), theirs.1);
        // What is wrong with a body each says in its own words.
        assert_eq!(ours.0, theirs.0, "{path} {body}: {ours:?} {theirs:?}");
        if ours.0 == 200 {
            assert_eq!(ours, theirs, "{path} {body}");
        }
    }
    pair.stop().await;
}

/// Intended difference "The HTTP status of what the state forbids".
fn newer_status(status: u16) -> u16 {
    if status == 412 { 400 } else { status }
}

/// Path and body of a request without streams.
fn json(pool: &DescriptorPool, op: &Op) -> Option<(&'static str, String)> {
    let (path, name, bytes) = match op {
        Op::Range(r) => ("/v3/kv/range", "RangeRequest", r.encode_to_vec()),
        Op::Put(r) => ("/v3/kv/put", "PutRequest", r.encode_to_vec()),
        Op::Delete(r) => ("/v3/kv/deleterange", "DeleteRangeRequest", r.encode_to_vec()),
        Op::Txn(r) => ("/v3/kv/txn", "TxnRequest", r.encode_to_vec()),
        Op::Compact(r) => ("/v3/kv/compaction", "CompactionRequest", r.encode_to_vec()),
        // An id that the server chooses is each server's own.
        Op::Grant(r) if r.id != 0 => ("/v3/lease/grant", "LeaseGrantRequest", r.encode_to_vec()),
        Op::Revoke(id) => (
            "/v3/lease/revoke",
            "LeaseRevokeRequest",
            LeaseRevokeRequest { id: *id }.encode_to_vec(),
        ),
        Op::TimeToLive(r) => ("/v3/lease/timetolive", "LeaseTimeToLiveRequest", r.encode_to_vec()),
        Op::Leases => {
            ("/v3/lease/leases", "LeaseLeasesRequest", LeaseLeasesRequest {}.encode_to_vec())
        }
        _ => return None,
    };
    let descriptor = pool.get_message_by_name(&format!("etcdserverpb.{name}")).expect("a message");
    let message = DynamicMessage::decode(descriptor, &bytes[..]).expect("just encoded");
    let mut body = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut body), &options)
        .expect("JSON");
    Some((path, String::from_utf8(body).expect("UTF-8")))
}

/// Status and body, without what is each server's own.
async fn post(side: &Side, path: &str, body: &str) -> (u16, Value) {
    let address = side.endpoint.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connect");
    // HTTP/1.0: the body ends where the connection does.
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("send");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let text = String::from_utf8(answer).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
    without_own(&mut body);
    (status, body)
}

fn without_own(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            OWN.iter().for_each(|own| drop(fields.remove(*own)));
            fields.values_mut().for_each(without_own);
        }
        Value::Array(values) => values.iter_mut().for_each(without_own),
        _ => {}
    }
}

/// Time to live is measured, and etcd gives a lease's keys in no order.
fn left_apart(op: &Op, ours: &(u16, Value), theirs: &(u16, Value)) -> bool {
    let plain = |(status, body): &(u16, Value)| {
        let (status, mut body) = (*status, body.clone());
        if let Some(keys) = body.get_mut("keys").and_then(Value::as_array_mut) {
            keys.sort_by_key(ToString::to_string);
        }
        let left = body["TTL"].as_str().and_then(|ttl| ttl.parse::<i64>().ok());
        body.as_object_mut().map(|fields| fields.remove("TTL"));
        (status, body, left)
    };
    let ((our_status, our_body, our_ttl), (status, body, ttl)) = (plain(ours), plain(theirs));
    let near = our_ttl.unwrap_or_default().abs_diff(ttl.unwrap_or_default())
        <= intended::LEFT_SECONDS.unsigned_abs();
    matches!(op, Op::TimeToLive(_)) && our_status == status && our_body == body && near
}

/// "The first fault of a transaction".
fn is_intended(ours: &(u16, Value), theirs: &(u16, Value)) -> bool {
    let listed = |(_, body): &(u16, Value)| {
        let message = body["message"].as_str().unwrap_or_default();
        intended::TRANSACTION_FAULTS.contains(&message)
    };
    listed(ours) && listed(theirs)
}
