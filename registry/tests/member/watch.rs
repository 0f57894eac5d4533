//! Watches through the etcd API of one member: many on a stream, slow ones, progress, metrics.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use prost::Message;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use watchkeep_api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse, kv_client::KvClient, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use watchkeep_registry::{Node, RegistryConfig};

use crate::ports;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

struct Member {
    node: Node,
    metrics: prometheus::Registry,
    _dir: tempfile::TempDir,
}

impl Member {
    async fn start() -> Self {
        let free_port = || SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (dir, peer): (_, SocketAddr) = (tempfile::tempdir().unwrap(), free_port());
        let config = RegistryConfig {
            data_dir: dir.path().to_owned(),
            client_listen: free_port(),
            peer_listen: peer,
            initial_cluster: BTreeMap::from([(1, peer.to_string())]),
            log_segment_bytes: 16 << 20,
            watch_progress_interval_ms: 300,
            ..RegistryConfig::default()
        };
        let metrics = prometheus::Registry::new();
        let node = Node::start(config, &metrics).await.unwrap();
        Self { node, metrics, _dir: dir }
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.node.client_addr())).unwrap().connect_lazy()
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> i64 {
        let request =
            PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() };
        let put = KvClient::new(self.channel()).put(request).await.unwrap().into_inner();
        put.header.unwrap().revision
    }

    /// The sum over a metric's series whose labels include `label`.
    fn metric(&self, name: &str, label: (&str, &str)) -> f64 {
        let families = self.metrics.gather();
        let series =
            families.iter().filter(|family| family.name() == name).flat_map(|f| f.get_metric());
        series
            .filter(|m| {
                label.0.is_empty() || m.get_label().iter().any(|l| (l.name(), l.value()) == label)
            })
            .map(|m| m.get_gauge().get_value() + m.get_counter().get_value())
            .sum()
    }
}

struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    async fn open(member: &Member) -> Self {
        let (requests, stream) = mpsc::channel(256);
        let mut client = WatchClient::new(member.channel()).max_decoding_message_size(64 << 20);
        let responses = client.watch(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn ask(&self, request: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn create(&mut self, create: WatchCreateRequest) -> i64 {
        self.ask(RequestUnion::CreateRequest(create)).await;
        let response = self.next().await;
        assert!(response.created, "{response:?}");
        response.watch_id
    }

    async fn next(&mut self) -> WatchResponse {
        let next = timeout(DEADLINE, self.responses.message()).await;
        next.expect("a response in time").unwrap().expect("the stream goes on")
    }
}

fn key(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..WatchCreateRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_watchers_on_one_stream_are_told_of_their_own_keys_only() {
    let member = Member::start().await;
    let mut watching = Watching::open(&member).await;
    for number in 0..200 {
        assert_eq!(watching.create(key(&format!("k/{number}"))).await, number);
    }
    let range = WatchCreateRequest { range_end: "k/2".into(), ..key("k/1") };
    let range = watching.create(range).await;
    member.put("elsewhere", vec![]).await;
    let revision = member.put("k/17", b"x".to_vec()).await;
    let mut told = BTreeMap::new();
    for _ in 0..2 {
        let response = watching.next().await;
        assert_eq!(response.header.as_ref().unwrap().revision, revision);
        told.insert(response.watch_id, response.events[0].kv.clone().unwrap().key);
    }
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [17, range]);
    watching.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 17 })).await;
    assert!(watching.next().await.canceled);
    member.put("k/17", b"y".to_vec()).await;
    assert_eq!(watching.next().await.watch_id, range);
    assert!((member.metric("watchkeep_registry_watchers", ("", "")) - 200.0).abs() < 0.5);
    drop(watching);
    let gone = async {
        while member.metric("watchkeep_registry_watchers", ("", "")) > 0.5 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("a stream that is dropped takes its watchers with it");
    member.node.shutdown().await;
}

/// A client that does not read holds nothing up, shows as lag, and then gets every event once and in order, the oldest
/// of them from disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_is_caught_up_from_history() {
    const PUTS: usize = 220;
    let member = Member::start().await;
    let mut slow = Watching::open(&member).await;
    slow.create(key("big")).await;
    let mut last = 0;
    for number in 0..PUTS {
        let mut value = vec![7; 100 << 10];
        value[..8].copy_from_slice(&number.to_be_bytes());
        last = member.put("big", value).await;
    }
    let behind = async {
        while member.metric("watchkeep_registry_watchers_behind", ("revisions", "10")) < 0.5 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, behind).await.expect("its lag shows");
    assert!(member.metric("watchkeep_registry_watcher_lag_revisions", ("watcher", "0")) >= 10.0);
    let mut seen = Vec::new();
    while seen.len() < PUTS {
        let response = slow.next().await;
        assert!(response.header.as_ref().unwrap().revision <= last);
        for event in response.events {
            let value = event.kv.unwrap().value;
            seen.push(usize::from_be_bytes(value[..8].try_into().unwrap()));
        }
    }
    assert_eq!(seen, (0..PUTS).collect::<Vec<_>>());
    assert!(member.metric("watchkeep_registry_watch_batches_total", ("source", "table")) > 0.5);
    assert!((member.metric("etcd_debugging_mvcc_events_total", ("", "")) - 220.0).abs() < 0.5);
    member.node.shutdown().await;
}

/// A revision that is too large for a message comes in several, if the watcher asks so, and else in one.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_revision_comes_in_fragments_to_who_asks_for_them() {
    const KEYS: usize = 30;
    /// etcd: what a client may ask for (1.5 MiB) and as much again as it adds.
    const MESSAGE_BYTES_MAX: usize = 2 << 20;
    let member = Member::start().await;
    let mut watching = Watching::open(&member).await;
    let whole = WatchCreateRequest { range_end: "big0".into(), prev_kv: true, ..key("big/") };
    let in_parts = watching.create(WatchCreateRequest { fragment: true, ..whole.clone() }).await;
    watching.create(whole).await;
    for number in 0..KEYS {
        member.put(&format!("big/{number:02}"), vec![7; 100 << 10]).await;
    }
    let mut puts = 0;
    while puts < 2 * KEYS {
        puts += watching.next().await.events.len();
    }
    let delete = DeleteRangeRequest {
        key: "big/".into(),
        range_end: "big0".into(),
        ..DeleteRangeRequest::default()
    };
    let deleted = KvClient::new(member.channel()).delete_range(delete).await.unwrap().into_inner();
    let revision = deleted.header.unwrap().revision;
    let (mut parts, mut once) = (Vec::new(), Vec::new());
    while once.is_empty() || parts.last().is_none_or(|part: &WatchResponse| part.fragment) {
        let response = watching.next().await;
        assert_eq!(response.header.as_ref().unwrap().revision, revision);
        if response.watch_id == in_parts { parts.push(response) } else { once.push(response) }
    }
    assert!(parts.len() > 1 && parts.iter().all(|part| part.encoded_len() <= MESSAGE_BYTES_MAX));
    let events = parts.into_iter().flat_map(|part| part.events).collect::<Vec<_>>();
    assert_eq!((events.len(), once.len(), once[0].fragment), (KEYS, 1, false));
    assert_eq!(events, once[0].events);
    member.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_watchers_are_told_the_revision_at_the_configured_interval_and_when_asked() {
    let member = Member::start().await;
    let mut watching = Watching::open(&member).await;
    let told = WatchCreateRequest { progress_notify: true, watch_id: 9, ..key("quiet") };
    assert_eq!(watching.create(told).await, 9);
    watching.create(key("other")).await;
    let revision = member.put("elsewhere", vec![]).await;
    loop {
        let progress = watching.next().await;
        assert_eq!((progress.watch_id, progress.events.len()), (9, 0), "only who asked for it");
        if progress.header.unwrap().revision == revision {
            break;
        }
    }
    let revision = member.put("elsewhere", vec![]).await;
    watching.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let answered = async {
        loop {
            let progress = watching.next().await;
            if progress.watch_id == -1 {
                return progress.header.unwrap().revision;
            }
        }
    };
    assert_eq!(timeout(DEADLINE, answered).await.unwrap(), revision);
    member.node.shutdown().await;
}
