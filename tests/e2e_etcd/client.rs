//! Crate `etcd-client`, which is not ours, and plain JSON: the etcd API as programs speak it.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, EventType, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn, TxnOp, WatchOptions,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node,
    cluster::{decode, encode},
    http,
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_transactions_leases_and_watches() {
    let cluster = Cluster::start(3, &[]).await;
    for node in &cluster.nodes {
        let mut client =
            Client::connect([format!("http://{}", node.client)], None).await.expect("connect");
        let prefix = format!("/client/{}/", node.name);
        keys(&mut client, &prefix).await;
        transactions(&mut client, &prefix).await;
        leases(&mut client, &prefix).await;
        watches(&mut client, &prefix).await;
    }
    json_api(&cluster.nodes[0], &cluster.nodes[2]).await;
}

/// Clients at each follower, all at once, and what each of them writes and reads.
const CLIENTS: usize = 16;
const ROUNDS: usize = 75;

/// Whoever writes at a member and reads there without asking the leader finds what was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_shows_what_it_has_acknowledged() {
    let cluster = Cluster::layout_roles(&["registry"; 3], None, &[]).run().await;
    let leader = cluster.raft_leader().await;
    let followers = (0..3).filter(|at| *at != leader);
    let work = followers.flat_map(|at| (0..CLIENTS).map(move |client| (at, client)));
    let work = work.map(|(at, client)| {
        let url = format!("http://{}", cluster.nodes[at].client);
        tokio::spawn(own_writes(url, format!("/own/{at}/{client}")))
    });
    for worker in futures::future::join_all(work).await {
        worker.expect("what was written is read");
    }
}

async fn own_writes(url: String, key: String) {
    let mut client = Client::connect([url], None).await.expect("connect");
    let here = || Some(GetOptions::new().with_serializable());
    for round in 0..ROUNDS {
        let put = client.put(key.as_str(), round.to_string(), None).await.expect("put");
        let got = client.get(key.as_str(), here()).await.expect("get");
        let value = got.kvs().first().map(|kv| kv.value_str().expect("UTF-8"));
        assert_eq!(value, Some(round.to_string().as_str()), "{key}");
        let revision = put.header().expect("a header").revision();
        assert!(got.header().expect("a header").revision() >= revision);
        client.delete(key.as_str(), None).await.expect("delete");
        assert!(client.get(key.as_str(), here()).await.expect("get").kvs().is_empty(), "{key}");
    }
}

async fn keys(client: &mut Client, prefix: &str) {
    for at in 0..10 {
        let answer = client.put(format!("{prefix}k{at}"), format!("v{}", 9 - at), None).await;
        assert!(answer.expect("put").header().expect("a header").revision() > 1);
    }
    let options = GetOptions::new().with_prefix().with_sort(SortTarget::Value, SortOrder::Descend);
    let answer = client.get(prefix, Some(options.with_limit(3))).await.expect("get");
    let keys: Vec<&str> = answer.kvs().iter().map(|kv| kv.key_str().expect("UTF-8")).collect();
    assert_eq!(keys, ["k0", "k1", "k2"].map(|key| format!("{prefix}{key}")));
    assert_eq!((answer.count(), answer.more()), (10, true));

    let options = PutOptions::new().with_prev_key();
    let answer = client.put(format!("{prefix}k0"), "new", Some(options)).await.expect("put");
    client.get(prefix, None).await.expect("get");
    assert_eq!(answer.prev_key().expect("the previous value").value(), b"v9");
    let before = answer.header().expect("a header").revision() - 1;
    let options = GetOptions::new().with_revision(before);
    let answer = client.get(format!("{prefix}k0"), Some(options)).await.expect("get");
    assert_eq!(answer.kvs()[0].value(), b"v9");

    // This member has just answered a linearizable read, so its own state is at least as new.
    let options = GetOptions::new().with_serializable();
    let answer = client.get(format!("{prefix}k0"), Some(options)).await.expect("get");
    assert_eq!(answer.kvs()[0].value(), b"new");

    let options = DeleteOptions::new().with_prefix().with_prev_key();
    let answer = client.delete(prefix, Some(options)).await.expect("delete");
    assert_eq!((answer.deleted(), answer.prev_kvs().len()), (10, 10));
}

async fn transactions(client: &mut Client, prefix: &str) {
    let key = format!("{prefix}lock");
    let take = || {
        Txn::new()
            .when([Compare::create_revision(key.as_str(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.as_str(), "mine", None)])
            .or_else([TxnOp::get(key.as_str(), None)])
    };
    assert!(client.txn(take()).await.expect("txn").succeeded());
    let lost = client.txn(take()).await.expect("txn");
    assert!(!lost.succeeded());
    assert_eq!(lost.op_responses().len(), 1);
    // Both halves of a nested transaction happen at one revision.
    let nested = Txn::new().and_then([
        TxnOp::put(format!("{prefix}a"), "1", None),
        TxnOp::txn(Txn::new().and_then([TxnOp::put(format!("{prefix}b"), "1", None)])),
    ]);
    client.txn(nested).await.expect("txn");
    let answer = client.get(prefix, Some(GetOptions::new().with_prefix())).await.expect("get");
    let revision = |name: &str| {
        let kv = answer.kvs().iter().find(|kv| kv.key() == format!("{prefix}{name}").as_bytes());
        kv.expect("the key").mod_revision()
    };
    assert_eq!(revision("a"), revision("b"));
}

async fn leases(client: &mut Client, prefix: &str) {
    let key = format!("{prefix}leased");
    let lease = client.lease_grant(2, None).await.expect("grant").id();
    let options = PutOptions::new().with_lease(lease);
    client.put(key.as_str(), "v", Some(options)).await.expect("put");
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await.expect("keep alive");
    keeper.keep_alive().await.expect("keep alive");
    let answer = answers.message().await.expect("an answer").expect("an answer");
    assert_eq!((answer.id(), answer.ttl()), (lease, 2));
    let mut events = client.watch(key.as_str(), None).await.expect("watch");
    // Nobody renews it any more: it expires, and the key goes with it.
    let deleted = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let answer = events.message().await.expect("the watch lives").expect("an answer");
            if answer.events().iter().any(|event| event.event_type() == EventType::Delete) {
                return;
            }
        }
    });
    deleted.await.expect("the lease expires within ten seconds");
    assert!(client.lease_revoke(lease).await.is_err(), "it is gone");
}

async fn watches(client: &mut Client, prefix: &str) {
    let key = format!("{prefix}watched");
    let first = client.put(key.as_str(), "1", None).await.expect("put");
    let from = first.header().expect("a header").revision();
    client.put(key.as_str(), "2", None).await.expect("put");
    client.delete(key.as_str(), None).await.expect("delete");
    let options = WatchOptions::new().with_start_revision(from).with_prev_key();
    let mut stream = client.watch(key.as_str(), Some(options)).await.expect("watch");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(5), stream.message()).await;
        let answer = next.expect("in time").expect("the watch lives").expect("an answer");
        for event in answer.events() {
            let kv = event.kv().expect("a key");
            let before = event.prev_kv().map(|kv| kv.value().to_vec()).unwrap_or_default();
            seen.push((event.event_type(), kv.value().to_vec(), before, kv.mod_revision() - from));
        }
    }
    assert_eq!(
        seen.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(),
        [EventType::Put, EventType::Put, EventType::Delete]
    );
    assert_eq!(seen[1].1, b"2");
    assert_eq!(seen[1].2, b"1");
    assert_eq!(seen[2].2, b"2");
    assert!(seen.windows(2).all(|pair| pair[0].3 < pair[1].3), "revisions grow: {seen:?}");
}

/// The gateway's JSON: bytes in base64, 64-bit numbers as strings; written here, read there.
async fn json_api(here: &Node, there: &Node) {
    let put = json!({"key": encode("/json/a"), "value": encode("1"), "prev_kv": true});
    let answer = here.v3("kv/put", &put).await.expect("put");
    let revision = answer["header"]["revision"].as_str().expect("a number as a string").to_owned();
    assert!(revision.parse::<i64>().expect("a number") > 1);
    let range = json!({"key": encode("/json/"), "range_end": encode("/json0")});
    let answer = there.v3("kv/range", &range).await.expect("range");
    assert_eq!(answer["count"], "1");
    assert_eq!(decode(answer["kvs"][0]["value"].as_str().expect("base64")), b"1");
    assert_eq!(answer["kvs"][0]["mod_revision"].as_str(), Some(revision.as_str()));
    let txn = json!({
        "compare": [{"key": encode("/json/a"), "target": "VERSION", "version": "1"}],
        "success": [{"request_delete_range": {"key": encode("/json/a")}}],
    });
    let answer = there.v3("kv/txn", &txn).await.expect("txn");
    assert_eq!(answer["succeeded"], true, "{answer}");

    let url = format!("http://{}/v3/kv/put", here.client);
    for body in ["{", "[]", "{\"key\": 5}", "{\"key\": \"not base64!\"}"] {
        let (status, text) = http::any(Method::POST, &url, Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {text}");
        let problem: Value = serde_json::from_str(&text).expect("the error is JSON too");
        assert!(problem["error"].is_string() || problem["message"].is_string(), "{text}");
    }
    let url = format!("http://{}/v3/kv/nonsense", here.client);
    let (status, _) = http::any(Method::POST, &url, Some("{}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
