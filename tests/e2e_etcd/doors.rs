//! What else is at the etcd door: locks and elections that the server keeps, ranges in parts, health by HTTP and by gRPC,
//! reflection, and the JSON paths of older clients.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use etcd_client::{Client, GetOptions, LockOptions, ProclaimOptions, PutOptions, ResignOptions};
use prost::Message;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use watchkeep_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, kv_client::KvClient,
};

use crate::common::{
    Cluster, Node,
    cluster::{decode, encode},
    etcdctl, eventually, http,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(20);

async fn connect(node: &Node) -> Client {
    Client::connect([format!("http://{}", node.client)], None).await.expect("connect")
}

/// Keys in the queue of a lock or an election.
async fn places(client: &mut Client, name: &str) -> Vec<String> {
    let options = GetOptions::new().with_prefix().with_keys_only();
    let answer = client.get(format!("{name}/"), Some(options)).await.expect("get");
    answer.kvs().iter().map(|kv| kv.key_str().expect("UTF-8").to_owned()).collect()
}

async fn queued(client: &mut Client, name: &str, count: usize) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let found = places(client, name).await;
        if found.len() == count {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{name}: {found:?}, not {count}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_elections_are_fair_queues() {
    let cluster = Cluster::start(3, &[]).await;
    contention(&cluster).await;
    waiters_that_go(&cluster).await;
    with_etcdctl(&cluster).await;
    elections(&cluster).await;
    by_json(&cluster.nodes[0]).await;
}

/// Twelve callers at three members want one lock: one at a time has it, in the order in which they came.
async fn contention(cluster: &Cluster) {
    let mut watcher = connect(&cluster.nodes[0]).await;
    let (order, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let mut callers = tokio::task::JoinSet::new();
    for at in 0..12_usize {
        let mut client = connect(&cluster.nodes[at % 3]).await;
        let lease = client.lease_grant(60, None).await.expect("grant").id();
        let order = order.clone();
        callers.spawn(async move {
            let options = LockOptions::new().with_lease(lease);
            let held = client.lock("jobs", Some(options)).await.expect("lock");
            let key = held.key().to_vec();
            assert_eq!(String::from_utf8_lossy(&key), format!("jobs/{lease:x}"));
            let place = client.get(key.clone(), None).await.expect("get");
            let revision = place.kvs()[0].create_revision();
            // A counter that is read and written without care stays right under the lock.
            let read = client.get("counter", None).await.expect("get");
            let count: usize =
                read.kvs().first().map_or(0, |kv| kv.value_str().unwrap().parse().unwrap());
            client.put("counter", (count + 1).to_string(), None).await.expect("put");
            order.send(revision).expect("the test listens");
            client.unlock(key).await.expect("unlock");
        });
        queued_or_done(&mut watcher, at).await;
    }
    while let Some(done) = callers.join_next().await {
        done.expect("a caller");
    }
    let count = watcher.get("counter", None).await.expect("get");
    assert_eq!(count.kvs()[0].value(), b"12");
    let mut revisions = Vec::new();
    while let Ok(revision) = taken.try_recv() {
        revisions.push(revision);
    }
    assert!(revisions.is_sorted(), "first come, first served: {revisions:?}");
    assert_eq!(places(&mut watcher, "jobs").await, Vec::<String>::new());
}

/// A caller has come when its key was seen, or has come and gone.
async fn queued_or_done(watcher: &mut Client, at: usize) {
    if at == 0 {
        eventually("the first has the lock or had it", SOON, async || {
            let found = places(&mut watcher.clone(), "jobs").await;
            let count = watcher.clone().get("counter", None).await.expect("get");
            ensure(!found.is_empty() || !count.kvs().is_empty(), || "nobody came".to_owned())
        })
        .await;
    }
}

/// A waiter that hangs up leaves no key behind; one whose lease ends is told; and the lock goes to the next.
async fn waiters_that_go(cluster: &Cluster) {
    let mut client = connect(&cluster.nodes[0]).await;
    let mut other = connect(&cluster.nodes[1]).await;
    let held = client.lock("going", None).await.expect("a lock under a lease of the server's");
    let ttl = client
        .lease_time_to_live(lease_of(held.key()), None)
        .await
        .expect("its lease")
        .granted_ttl();
    assert_eq!(ttl, 60);

    let waiting = tokio::spawn({
        let mut client = connect(&cluster.nodes[2]).await;
        async move { client.lock("going", None).await }
    });
    queued(&mut other, "going", 2).await;
    waiting.abort();
    queued(&mut other, "going", 1).await;

    let lease = other.lease_grant(60, None).await.expect("grant").id();
    let expiring = tokio::spawn({
        let mut client = connect(&cluster.nodes[2]).await;
        let options = LockOptions::new().with_lease(lease);
        async move { client.lock("going", Some(options)).await }
    });
    queued(&mut other, "going", 2).await;
    other.lease_revoke(lease).await.expect("revoke");
    client.unlock(held.key()).await.expect("unlock");
    let error = expiring.await.expect("joined").expect_err("its lease is gone").to_string();
    assert!(error.contains("mutex: session is expired"), "{error}");

    // The holder's lease runs out by itself.
    let short = client.lease_grant(1, None).await.expect("grant").id();
    let options = LockOptions::new().with_lease(short);
    client.lock("going", Some(options)).await.expect("lock");
    tokio::time::timeout(SOON, other.lock("going", None)).await.expect("in time").expect("lock");

    let unknown = LockOptions::new().with_lease(4_711);
    let error = client.lock("going", Some(unknown)).await.expect_err("no such lease").to_string();
    assert!(error.contains("etcdserver: requested lease not found"), "{error}");
}

fn lease_of(key: &[u8]) -> i64 {
    let key = String::from_utf8_lossy(key).into_owned();
    i64::from_str_radix(key.rsplit('/').next().expect("a part"), 16).expect("hexadecimal")
}

/// etcdctl waits on the client's side, by the same keys.
async fn with_etcdctl(cluster: &Cluster) {
    let node = &cluster.nodes[1];
    let mut client = connect(node).await;
    let held = client.lock("both", None).await.expect("lock");
    let run = |args: &[&str]| -> Child {
        let mut command = etcdctl::command(&node.client, args);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("etcdctl")
    };
    let waits = run(&["lock", "both", "echo", "mine"]);
    queued(&mut client, "both", 2).await;
    client.unlock(held.key()).await.expect("unlock");
    let output = tokio::task::spawn_blocking(move || waits.wait_with_output()).await;
    let said = output.expect("joined").expect("it ran").stdout;
    assert_eq!(String::from_utf8_lossy(&said).trim(), "mine");

    let mut leads = run(&["elect", "office", "from-etcdctl"]);
    eventually("etcdctl leads", SOON, async || {
        let led = client.clone().leader("office").await.map_err(|e| e.to_string())?;
        ensure(led.kv().map(|kv| kv.value()) == Some(b"from-etcdctl"), || format!("{led:?}"))
    })
    .await;
    let lease = client.lease_grant(60, None).await.expect("grant").id();
    let campaign = tokio::spawn({
        let mut client = connect(&cluster.nodes[0]).await;
        async move { client.campaign("office", "next", lease).await }
    });
    queued(&mut client, "office", 2).await;
    leads.kill().expect("killed");
    leads.wait().expect("gone");
    let first = places(&mut client, "office").await;
    let holder = first.iter().map(|key| lease_of(key.as_bytes())).find(|l| *l != lease);
    client.lease_revoke(holder.expect("etcdctl's")).await.expect("revoke");
    let won = campaign.await.expect("joined").expect("won");
    let leader = won.leader().expect("a leader").clone();
    let options = ResignOptions::new().with_leader(leader);
    client.resign(Some(options)).await.expect("resign");
}

async fn elections(cluster: &Cluster) {
    let (mut one, mut two) = (connect(&cluster.nodes[0]).await, connect(&cluster.nodes[1]).await);
    let error = one.leader("chair").await.expect_err("nobody leads").to_string();
    assert!(error.contains("election: no leader"), "{error}");
    let mut seen = connect(&cluster.nodes[2]).await.observe("chair").await.expect("observe");
    let first = one.lease_grant(60, None).await.expect("grant").id();
    let second = two.lease_grant(60, None).await.expect("grant").id();
    let won = one.campaign("chair", "one", first).await.expect("campaign");
    let leader = won.leader().expect("a leader").clone();
    assert_eq!(leader.rev(), won.header().expect("a header").revision());
    let next = tokio::spawn(async move { two.campaign("chair", "two", second).await });
    queued(&mut one, "chair", 2).await;
    let options = ProclaimOptions::new().with_leader(leader.clone());
    one.proclaim("one again", Some(options)).await.expect("proclaim");
    one.resign(Some(ResignOptions::new().with_leader(leader.clone()))).await.expect("resign");
    let won = next.await.expect("joined").expect("won");
    assert_eq!(won.leader().expect("a leader").lease(), second);
    let options = ProclaimOptions::new().with_leader(leader);
    let error = one.proclaim("too late", Some(options)).await.expect_err("it resigned");
    assert!(error.to_string().contains("election: not leader"), "{error}");
    let mut told = Vec::new();
    while told.last().is_none_or(|last| last != "two") {
        let answer = tokio::time::timeout(SOON, seen.message()).await.expect("in time");
        let answer = answer.expect("a message").expect("not the end");
        told.push(answer.kv().expect("a key").value_str().expect("UTF-8").to_owned());
    }
    assert_eq!(told, ["one", "one again", "two"]);
    // With another value, whoever leads already proclaims it.
    let again = one.campaign("chair", "two again", second).await.expect("the same lease");
    let key = |leader: Option<&etcd_client::LeaderKey>| leader.expect("a leader").key().to_vec();
    assert_eq!(key(again.leader()), key(won.leader()));
    let led = one.leader("chair").await.expect("leader");
    assert_eq!(led.kv().expect("a key").value(), b"two again");
}

async fn by_json(node: &Node) {
    let granted = node.v3("lease/grant", &json!({"TTL": 60, "ID": 777})).await.expect("grant");
    assert_eq!(granted["ID"], "777");
    let request = json!({"name": encode("json"), "lease": 777});
    let held = node.v3("lock/lock", &request).await.expect("lock");
    assert_eq!(decode(held["key"].as_str().expect("a key")), b"json/309");
    let request = json!({"name": encode("office-json"), "lease": 777, "value": encode("v")});
    let won = node.v3("election/campaign", &request).await.expect("campaign");
    assert_eq!(won["leader"]["lease"], "777");
    let led = node.v3("election/leader", &json!({"name": encode("office-json")})).await;
    assert_eq!(led.expect("leader")["kv"]["value"], encode("v"));
    let resigned = node.v3("election/resign", &json!({"leader": won["leader"]})).await;
    assert!(resigned.expect("resign")["header"].is_object());
    for (call, body, error) in [
        ("election/resign", json!({}), "\"leader\" field must be provided"),
        ("election/leader", json!({"name": encode("nobody")}), "election: no leader"),
        (
            "lock/lock",
            json!({"name": encode("json"), "lease": 4_711}),
            "etcdserver: requested lease not found",
        ),
    ] {
        let url = format!("http://{}/v3/{call}", node.client);
        let answer = http::send(http::client().post(url).json(&body)).await.expect("an answer");
        assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.1);
        let said: Value = serde_json::from_str(&answer.1).expect("JSON");
        assert_eq!((said["message"].as_str(), said["code"].as_i64()), (Some(error), Some(2)));
    }
    // Every key under "/" would stand before a lock without a name, Watchkeep's own among them.
    for call in ["lock/lock", "election/campaign", "election/leader", "election/observe"] {
        let url = format!("http://{}/v3/{call}", node.client);
        let answer =
            http::send(http::client().post(url).json(&json!({}))).await.expect("an answer");
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{call}: {}", answer.1);
        assert!(answer.1.contains("a lock or an election needs a name"), "{call}: {}", answer.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_reflection_ranges_in_parts_and_old_paths() {
    let mut cluster = Cluster::start(3, &[]).await;
    let node = &cluster.nodes[0];
    old_paths(node).await;
    parts(node).await;
    reflection(node).await;
    let channel = Channel::from_shared(format!("http://{}", node.client)).expect("URL");
    let channel = channel.connect().await.expect("connect");
    let mut health = HealthClient::new(channel).watch(check("")).await.expect("watch").into_inner();
    // Between the start and the first judgement it may be told either.
    let mut status = ServingStatus::Unknown;
    while status != ServingStatus::Serving {
        let told = tokio::time::timeout(SOON, health.message()).await.expect("told in time");
        status = told.expect("a message").expect("not the end").status();
    }
    well(node).await;

    let client = node.client.clone();
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let changed = tokio::time::timeout(SOON, health.message()).await.expect("told in time");
    assert_eq!(
        changed.expect("a message").expect("not the end").status(),
        ServingStatus::NotServing
    );
    let (status, body) = get(&client, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.starts_with("[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: "), "{body}");
    for (path, expected) in [
        ("/readyz?exclude=linearizable_read", StatusCode::OK),
        ("/readyz/linearizable_read?exclude=linearizable_read", StatusCode::SERVICE_UNAVAILABLE),
        ("/livez", StatusCode::OK),
        ("/health", StatusCode::SERVICE_UNAVAILABLE),
        ("/health?serializable=true", StatusCode::OK),
    ] {
        let (status, body) = get(&client, path).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn get(client: &str, path: &str) -> (StatusCode, String) {
    http::send(http::client().get(format!("http://{client}{path}"))).await.expect("an answer")
}

async fn well(node: &Node) {
    for (path, expected) in [
        ("/livez", "ok\n"),
        ("/readyz", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        (
            "/readyz?verbose",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
        ),
        (
            "/readyz?verbose&exclude=data_corruption&exclude=non_learner&exclude=what",
            "[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
        ),
        ("/readyz/data_corruption?verbose", "[+]data_corruption ok\nok\n"),
        ("/livez/serializable_read", "ok\n"),
        ("/health", "{\"health\":\"true\",\"reason\":\"\"}"),
        ("/health?exclude=NOSPACE&serializable=true", "{\"health\":\"true\",\"reason\":\"\"}"),
    ] {
        assert_eq!(get(&node.client, path).await, (StatusCode::OK, expected.to_owned()), "{path}");
    }
    let posted = http::client().post(format!("http://{}/readyz", node.client));
    assert_eq!(http::send(posted).await.expect("an answer").0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&node.client, "/readyz/what").await.0, StatusCode::NOT_FOUND);
}

async fn reflection(node: &Node) {
    let channel = Channel::from_shared(format!("http://{}", node.client)).expect("URL");
    let channel = channel.connect().await.expect("connect");
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let symbol = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("v3lockpb.Lock".to_owned())),
    };
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([list, symbol]))
        .await
        .expect("reflection");
    let mut answers = answers.into_inner();
    let answer = answers.message().await.expect("a message").expect("not the end");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in ["etcdserverpb.KV", "etcdserverpb.Watch", "v3electionpb.Election"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("peer")), "{names:?}");
    let answer = answers.message().await.expect("a message").expect("not the end");
    assert!(matches!(answer.message_response, Some(MessageResponse::FileDescriptorResponse(_))));
}

async fn old_paths(node: &Node) {
    // What etcd has or had, and what nobody has: no empty answer that looks like a good one.
    for path in ["/debug/vars", "/v2/keys/a", "/etcdserverpb.KV/Range", "/"] {
        let (status, body) = get(&node.client, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
        assert!(body.contains(path) && body.contains("there is nothing here"), "{body}");
    }
    for prefix in ["v3", "v3beta", "v3alpha"] {
        let url = format!("http://{}/{prefix}/kv/range", node.client);
        let answer = http::post(&url, &json!({"key": encode("a")})).await.expect("an answer");
        assert!(answer["header"].is_object(), "{answer}");
    }
    let url = format!("http://{}/v3beta/what", node.client);
    let answer = http::send(http::client().request(Method::POST, url)).await.expect("an answer");
    assert_eq!(answer.0, StatusCode::NOT_FOUND);
}

/// A range in parts is the range, at one revision, whatever is written meanwhile.
/// The parts put together are what Range answers, and all of one revision although keys are written meanwhile.
async fn by_grpc(node: &Node) {
    let endpoint = Channel::from_shared(format!("http://{}", node.client)).expect("an URL");
    let mut kv = KvClient::new(endpoint.connect_lazy()).max_decoding_message_size(usize::MAX);
    let asked = RangeRequest {
        key: "/parts/".into(),
        range_end: "/parts0".into(),
        ..RangeRequest::default()
    };
    let mut stream = kv.range_stream(asked.clone()).await.expect("a stream").into_inner();
    let first = stream.message().await.expect("a part").expect("there is one");
    let before = kv.range(asked).await.expect("range").into_inner();
    let late = PutRequest { key: "/parts/99".into(), ..PutRequest::default() };
    kv.put(late.clone()).await.expect("put");
    let (mut parts, mut merged) = (1, RangeResponse::default());
    let mut next = Some(first);
    while let Some(part) = next {
        merged
            .merge(part.range_response.expect("a part").encode_to_vec().as_slice())
            .expect("merged");
        (next, parts) = (stream.message().await.expect("a part"), parts + 1);
    }
    assert!(parts > 3, "{parts} parts");
    assert_eq!((merged.kvs, merged.count, merged.more), (before.kvs, before.count, before.more));
    let delete = DeleteRangeRequest { key: late.key, ..DeleteRangeRequest::default() };
    kv.delete_range(delete).await.expect("deleted");
}

async fn parts(node: &Node) {
    let mut client = connect(node).await;
    let value = "x".repeat(100_000);
    for at in 0..30 {
        let options = PutOptions::new();
        client.put(format!("/parts/{at:02}"), value.clone(), Some(options)).await.expect("put");
    }
    by_grpc(node).await;
    let url = format!("http://{}/v3/kv/rangestream", node.client);
    let stream = async |body: Value| -> Vec<Value> {
        let text = http::text(http::client().post(&url).json(&body)).await.expect("a stream");
        let parts = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        parts.map(|part| part["result"]["range_response"].clone()).collect()
    };
    let range = |more: Value| {
        let mut body = json!({"key": encode("/parts/"), "range_end": encode("/parts0")});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        body
    };
    let revision = |answer: &Value| -> i64 {
        let text = answer["header"]["revision"].as_str().unwrap_or_default();
        text.parse().expect("a revision")
    };
    for more in [
        json!({}),
        json!({"limit": 17}),
        json!({"count_only": true}),
        json!({"keys_only": true}),
        json!({"limit": 30}),
    ] {
        let parts = stream(range(more.clone())).await;
        let unary = node.v3("kv/range", &range(more.clone())).await.expect("range");
        let (last, rest) = parts.split_last().expect("a part");
        let kvs: Vec<&Value> =
            parts.iter().flat_map(|part| part["kvs"].as_array().into_iter().flatten()).collect();
        let expected: Vec<&Value> = unary["kvs"].as_array().into_iter().flatten().collect();
        assert_eq!(kvs, expected, "{more}");
        assert_eq!((&last["count"], &last["more"]), (&unary["count"], &unary["more"]), "{more}");
        // The collector's opinions move the revision on between the two.
        assert!(revision(last) <= revision(&unary) && revision(last) > 30, "{more}");
        assert!(
            rest.iter().all(|part| part.get("header").is_none() && part.get("count").is_none())
        );
        if more == json!({}) {
            assert!(parts.len() >= 3, "{} parts of 3 MB", parts.len());
        }
    }
    let before = client.get("/parts/00", None).await.expect("get");
    let revision = before.header().expect("a header").revision();
    client.delete("/parts/07", None).await.expect("delete");
    let parts = stream(range(json!({"revision": revision, "keys_only": true}))).await;
    assert_eq!(parts.last().expect("a part")["count"], "30");
    for (more, code, message) in [
        (
            json!({"sort_order": "DESCEND"}),
            Code::Unimplemented,
            "RangeStream does not support custom sort orders",
        ),
        (
            json!({"min_mod_revision": 1}),
            Code::Unimplemented,
            "RangeStream does not support revision filters",
        ),
        (
            json!({"revision": 1_000_000}),
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ] {
        let answer =
            http::send(http::client().post(&url).json(&range(more))).await.expect("an answer");
        let said: Value = serde_json::from_str(&answer.1).expect("JSON");
        assert_eq!(
            (said["message"].as_str(), said["code"].as_i64()),
            (Some(message), Some(code as i64)),
            "{said}"
        );
    }
}
