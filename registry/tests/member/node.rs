//! Members as they run: one, and three, through the etcd API.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use watchkeep_api::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest,
    PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest, WatchCreateRequest,
    WatchRequest, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, request_op::Request, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use watchkeep_registry::{Node, RegistryConfig};

use crate::ports;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free()))
}

fn configs(count: u64, dir: &Path) -> Vec<RegistryConfig> {
    let peers: BTreeMap<u64, SocketAddr> = (1..=count).map(|id| (id, free_port())).collect();
    let initial_cluster: BTreeMap<u64, String> =
        peers.iter().map(|(id, address)| (*id, address.to_string())).collect();
    let config = |(id, peer): (&u64, &SocketAddr)| RegistryConfig {
        node_id: *id,
        name: format!("node-{id}"),
        data_dir: dir.join(id.to_string()),
        client_listen: free_port(),
        peer_listen: *peer,
        initial_cluster: initial_cluster.clone(),
        log_segment_bytes: 1 << 20,
        ..RegistryConfig::default()
    };
    peers.iter().map(config).collect()
}

async fn start(config: &RegistryConfig) -> Node {
    let begin = Instant::now();
    loop {
        match Node::start(config.clone(), &prometheus::Registry::new()).await {
            Ok(node) => return node,
            // A port is free again only when the former owner's sockets are gone.
            Err(error) if begin.elapsed() < DEADLINE => {
                eprintln!("{error}");
                sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn channel(node: &Node) -> Channel {
    Endpoint::from_shared(format!("http://{}", node.client_addr())).unwrap().connect_lazy()
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = configs(1, dir.path()).remove(0);
    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    let first = kv.put(put("a", "1")).await.unwrap().into_inner().header.unwrap();
    assert_eq!(first.revision, 2, "as in etcd the first write is revision 2");
    kv.put(put("a", "2")).await.unwrap();
    let found = kv.range(get("a")).await.unwrap().into_inner();
    assert_eq!((found.kvs[0].version, &found.kvs[0].value[..]), (2, &b"2"[..]));
    let old = kv.range(RangeRequest { revision: 2, ..get("a") }).await.unwrap().into_inner();
    assert_eq!(&old.kvs[0].value[..], b"1");
    let deleted = kv
        .delete_range(DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((deleted.deleted, &deleted.prev_kvs[0].value[..]), (1, &b"2"[..]));
    kv.put(put("b", "3")).await.unwrap();
    node.shutdown().await;

    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    assert_eq!(kv.range(get("a")).await.unwrap().into_inner().count, 0);
    let found = kv.range(get("b")).await.unwrap().into_inner();
    assert_eq!((found.kvs[0].mod_revision, &found.kvs[0].value[..]), (5, &b"3"[..]));
    node.shutdown().await;
}

/// In its old term it would answer reads by a committed index that may be older than what it acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_comes_back_is_elected_anew() {
    let dir = tempfile::tempdir().unwrap();
    let config = configs(1, dir.path()).remove(0);
    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    kv.put(put("a", "1")).await.unwrap();
    let before = node.status();
    assert_eq!(before.leader, Some(1));
    node.shutdown().await;

    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    let found = kv.range(get("a")).await.unwrap().into_inner();
    assert_eq!(&found.kvs[0].value[..], b"1");
    let after = node.status();
    assert!(after.leader == Some(1) && after.term > before.term, "{before:?}, then {after:?}");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_go_on_from_a_revision_and_leases_run_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = configs(1, dir.path()).remove(0);
    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    kv.put(put("k/1", "a")).await.unwrap();
    kv.put(put("k/1", "b")).await.unwrap();
    let create = WatchCreateRequest {
        key: "k/".into(),
        range_end: "k0".into(),
        start_revision: 2,
        prev_kv: true,
        ..Default::default()
    };
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    requests
        .send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) })
        .await
        .unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
    let mut watch = WatchClient::new(channel(&node)).watch(stream).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    let past = watch.message().await.unwrap().unwrap();
    let values: Vec<_> = past.events.iter().map(|e| e.kv.clone().unwrap().value).collect();
    assert_eq!(values, [&b"a"[..], b"b"]);
    assert_eq!(past.events[1].prev_kv.clone().unwrap().value, &b"a"[..]);

    let mut lease = LeaseClient::new(channel(&node));
    let granted =
        lease.lease_grant(LeaseGrantRequest { ttl: 1, id: 0 }).await.unwrap().into_inner();
    kv.put(PutRequest { lease: granted.id, ..put("k/2", "leased") }).await.unwrap();
    let live = watch.message().await.unwrap().unwrap();
    assert_eq!(live.events[0].kv.clone().unwrap().lease, granted.id);
    let gone = tokio::time::timeout(DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(gone.events[0].r#type, 1, "the key went with its lease");
    let left = lease
        .lease_time_to_live(LeaseTimeToLiveRequest { id: granted.id, keys: true })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(left.ttl, -1);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_agree_and_survive_the_loss_of_their_leader() {
    let dir = tempfile::tempdir().unwrap();
    let configs = configs(3, dir.path());
    let mut nodes = BTreeMap::new();
    for config in &configs {
        nodes.insert(config.node_id, start(config).await);
    }
    for (id, node) in &nodes {
        let key = format!("from-{id}");
        KvClient::new(channel(node)).put(put(&key, "x")).await.unwrap();
    }
    for node in nodes.values() {
        for id in 1..=3 {
            let found =
                KvClient::new(channel(node)).range(get(&format!("from-{id}"))).await.unwrap();
            assert_eq!(found.into_inner().count, 1, "linearizable on every member");
        }
    }
    let leader = nodes[&1].status().leader.unwrap();
    nodes.remove(&leader).unwrap().shutdown().await;
    let other = nodes.values().next().unwrap();
    let begin = Instant::now();
    while let Err(status) = KvClient::new(channel(other)).put(put("after", "y")).await {
        assert!(begin.elapsed() < DEADLINE, "{status}");
    }
    let back = start(&configs[usize::try_from(leader).unwrap() - 1]).await;
    let found = KvClient::new(channel(&back)).range(get("after")).await.unwrap().into_inner();
    assert_eq!(found.count, 1, "the returned member has caught up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_too_far_behind_catches_up_by_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let configs: Vec<_> = configs(3, dir.path())
        .into_iter()
        .map(|config| RegistryConfig { log_entries_kept: 1_000, ..config })
        .collect();
    let mut nodes = Vec::new();
    for config in &configs {
        nodes.push(start(config).await);
    }
    let mut kv = KvClient::new(channel(&nodes[0]));
    kv.put(put("before", "x")).await.unwrap();
    nodes.pop().unwrap().shutdown().await;
    let writing = (0..32).map(|client| {
        let mut kv = kv.clone();
        async move {
            for n in 0..200 {
                let key = format!("{client}/{n}");
                while let Err(status) = kv.put(put(&key, "y")).await {
                    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
                }
            }
        }
    });
    futures::future::join_all(writing).await;
    // The leader has taken a snapshot and purged what the missing member would need.
    let begin = Instant::now();
    while nodes.iter().all(|node| node.status().purged < 1_000) {
        assert!(begin.elapsed() < DEADLINE, "{:?}", nodes[0].status());
        sleep(Duration::from_millis(100)).await;
    }
    let back = start(&configs[2]).await;
    let range = RangeRequest {
        range_end: "\0".into(),
        key: "\0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    let found = KvClient::new(channel(&back)).range(range).await.unwrap().into_inner();
    assert_eq!(found.count, 32 * 200 + 1);
    kv.put(put("later", "z")).await.unwrap();
    let found = KvClient::new(channel(&back)).range(get("later")).await.unwrap().into_inner();
    assert_eq!(found.count, 1);
}

/// Far less than a request without a quorum waits for one.
const AT_ONCE: Duration = Duration::from_secs(3);

/// As etcd's clients ask with `WithRequireLeader`.
fn led<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_quorum_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let configs = configs(3, dir.path());
    let mut nodes = Vec::new();
    for config in &configs {
        nodes.push(start(config).await);
    }
    let last = nodes.pop().unwrap();
    KvClient::new(channel(&last)).put(put("a", "1")).await.unwrap();
    let create = WatchCreateRequest { key: "quiet".into(), ..Default::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let stream =
        tokio_stream::StreamExt::chain(tokio_stream::once(create), tokio_stream::pending());
    let mut watch = WatchClient::new(channel(&last)).watch(led(stream)).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().created);
    let mut maintenance = MaintenanceClient::new(channel(&last));
    let mut leases = LeaseClient::new(channel(&last));
    let granted = LeaseGrantRequest { ttl: 600, id: 0 };
    let id = leases.lease_grant(granted).await.unwrap().into_inner().id;
    let renewal = LeaseKeepAliveRequest { id };
    let renewals =
        tokio_stream::StreamExt::chain(tokio_stream::once(renewal), tokio_stream::pending());
    let renewals = led(renewals);
    let mut renewed = leases.lease_keep_alive(renewals).await.unwrap().into_inner();
    assert_eq!(renewed.message().await.unwrap().unwrap().id, id);
    // Longer than the silence that would count against a leader: heartbeats alone must keep it.
    let calm = tokio::time::timeout(Duration::from_secs(4), watch.message()).await;
    assert!(calm.is_err(), "the stream must stay open: {calm:?}");
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.errors, Vec::<String>::new());

    for node in nodes {
        node.shutdown().await;
    }
    let ended = tokio::time::timeout(DEADLINE, watch.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.message(), "etcdserver: no leader");
    let ended = tokio::time::timeout(DEADLINE, renewed.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.message(), "etcdserver: no leader");
    // Whoever wants a leader is refused at once, and whoever wants none is answered.
    let mut kv = KvClient::new(channel(&last));
    let refused = tokio::time::timeout(AT_ONCE, kv.put(led(put("a", "2")))).await.unwrap();
    assert_eq!(refused.unwrap_err().message(), "etcdserver: no leader");
    let range = RangeRequest { serializable: true, ..get("a") };
    let op = RequestOp { request: Some(Request::RequestRange(range)) };
    let txn = TxnRequest { success: vec![op], ..TxnRequest::default() };
    let read = tokio::time::timeout(AT_ONCE, kv.txn(txn)).await.unwrap().unwrap();
    assert!(read.into_inner().succeeded);
    let status = maintenance.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.errors, ["etcdserver: no leader"]);
    let refused = KvClient::new(channel(&last)).put(put("a", "2")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::Unavailable, "etcdserver: no leader")
    );
}

/// What the storage engine or a decoder would choke on must never enter the log: it would be choked on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_refused_before_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let config = configs(1, dir.path()).remove(0);
    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    // The longest key there may be, of the byte that takes the most room.
    let longest = "\0".repeat(32_752);
    kv.put(put(&longest, "x")).await.unwrap();
    let found = kv.range(get(&longest)).await.unwrap().into_inner();
    assert_eq!(found.count, 1);
    let too_long = "\0".repeat(32_753);
    let past = RangeRequest { range_end: too_long.clone().into(), ..get("a") };
    for refused in [
        kv.put(put(&too_long, "x")).await.map(|_| ()),
        kv.range(get(&too_long)).await.map(|_| ()),
        kv.range(past).await.map(|_| ()),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("32752 bytes"), "{refused}");
    }
    let nested = |depth: usize| {
        let inner = RequestOp { request: Some(Request::RequestPut(put("deep", "x"))) };
        let wrap = |op: RequestOp, _| RequestOp {
            request: Some(Request::RequestTxn(TxnRequest {
                success: vec![op],
                ..Default::default()
            })),
        };
        let op = (0..depth).fold(inner, wrap);
        TxnRequest { success: vec![op], ..Default::default() }
    };
    kv.txn(nested(16)).await.unwrap();
    for depth in [17, 40, 49] {
        let refused = kv.txn(nested(depth)).await.unwrap_err();
        assert!(refused.message().contains("deeper than 16"), "{depth}: {refused}");
    }
    node.shutdown().await;
    let node = start(&config).await;
    let mut kv = KvClient::new(channel(&node));
    for key in [longest.as_str(), "deep"] {
        assert_eq!(kv.range(get(key)).await.unwrap().into_inner().count, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_much_is_under_way_it_refuses_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let configs = configs(3, dir.path()).into_iter();
    let mut nodes = Vec::new();
    for config in configs.map(|config| RegistryConfig { requests_max: 4, ..config }) {
        nodes.push(start(&config).await);
    }
    let last = nodes.pop().unwrap();
    for node in nodes {
        node.shutdown().await;
    }
    // Without a quorum nothing is answered: four wait, and the fifth is one too many.
    let puts = (0..5).map(|_| {
        let mut kv = KvClient::new(channel(&last));
        Box::pin(async move { kv.put(put("a", "1")).await })
    });
    let first = futures::future::select_all(puts);
    let (first, ..) = tokio::time::timeout(Duration::from_secs(2), first).await.expect("at once");
    let refused = first.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::ResourceExhausted, "etcdserver: too many requests")
    );
}
