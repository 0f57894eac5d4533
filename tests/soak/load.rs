//! Writers as many as asked for, each putting values of 1 KiB as fast as they are acknowledged, a number in each that
//! grows; and a compaction now and then, so that what is stored stays the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::transport::Endpoint;
use watchkeep_api::etcdserverpb::{
    CompactionRequest, PutRequest, RangeRequest, kv_client::KvClient,
};

const VALUE_BYTES: usize = 1_024;
/// Each is written again and again: an old value that comes back would be seen.
const KEYS_PER_WRITER: u64 = 50;
/// How long a writer waits for an answer before it tries another member.
const PATIENCE: Duration = Duration::from_secs(3);
const COMPACT_EVERY: Duration = Duration::from_secs(2);
/// Revisions of the past that a compaction leaves.
const REVISIONS_KEPT: i64 = 2_000;
const PREFIX: &str = "/soak/";

/// What was acknowledged.
#[derive(Default)]
pub struct Acknowledged {
    /// Of each key the newest number.
    pub values: BTreeMap<String, u64>,
    /// Writes.
    pub count: u64,
    last: Option<Instant>,
    silence: Duration,
}

/// The writers at work.
pub struct Load {
    over: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts them, spread over the members.
    pub fn start(urls: &[String], writers: usize) -> Self {
        let (over, revision) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let first = Acknowledged { last: Some(Instant::now()), ..Acknowledged::default() };
        let acknowledged = Arc::new(Mutex::new(first));
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (over, acknowledged) = (Arc::clone(&over), Arc::clone(&acknowledged));
            tasks.spawn(write(writer, urls.to_vec(), over, acknowledged, Arc::clone(&revision)));
        }
        tasks.spawn(compact(urls.to_vec(), Arc::clone(&over), revision));
        Self { over, acknowledged, tasks }
    }

    /// Ends them; what was acknowledged, and the longest time in which nothing was.
    pub async fn stop(mut self) -> (Acknowledged, Duration) {
        self.over.store(true, Ordering::SeqCst);
        while let Some(done) = self.tasks.join_next().await {
            done.expect("a writer did not fail");
        }
        let acknowledged =
            std::mem::take(&mut *self.acknowledged.lock().expect("no holder panicked"));
        let to_the_end = acknowledged.last.map_or(Duration::ZERO, |last| last.elapsed());
        let silence = acknowledged.silence.max(to_the_end);
        (acknowledged, silence)
    }
}

async fn write(
    writer: usize,
    urls: Vec<String>,
    over: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    revision: Arc<AtomicI64>,
) {
    let (mut member, mut number) = (writer, 0_u64);
    while !over.load(Ordering::SeqCst) {
        member += 1;
        let endpoint = Endpoint::from_shared(urls[member % urls.len()].clone()).expect("an URL");
        let Ok(Ok(channel)) = timeout(PATIENCE, endpoint.connect()).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut kv = KvClient::new(channel);
        while !over.load(Ordering::SeqCst) {
            // After an error the same number again: it may have been written already.
            let key = format!("{PREFIX}{writer}/{}", number % KEYS_PER_WRITER);
            let mut value = number.to_string().into_bytes();
            value.resize(VALUE_BYTES, b' ');
            let put = PutRequest {
                key: key.clone().into(),
                value: value.into(),
                ..PutRequest::default()
            };
            let Ok(Ok(answer)) = timeout(PATIENCE, kv.put(put)).await else { break };
            let header = answer.into_inner().header.unwrap_or_default();
            revision.fetch_max(header.revision, Ordering::Relaxed);
            let mut all = acknowledged.lock().expect("no holder panicked");
            let now = Instant::now();
            let since = all.last.replace(now).map_or(Duration::ZERO, |last| now - last);
            all.silence = all.silence.max(since);
            all.count += 1;
            all.values.insert(key, number);
            number += 1;
        }
    }
}

async fn compact(urls: Vec<String>, over: Arc<AtomicBool>, revision: Arc<AtomicI64>) {
    let mut member = 0;
    while !over.load(Ordering::SeqCst) {
        sleep(COMPACT_EVERY).await;
        member += 1;
        let endpoint = Endpoint::from_shared(urls[member % urls.len()].clone()).expect("an URL");
        let Ok(Ok(channel)) = timeout(PATIENCE, endpoint.connect()).await else { continue };
        let revision = revision.load(Ordering::Relaxed) - REVISIONS_KEPT;
        if revision > 0 {
            // The member may be gone, or another compaction may have been first: the next one comes soon.
            let request = CompactionRequest { revision, physical: false };
            let _ = timeout(PATIENCE, KvClient::new(channel).compact(request)).await;
        }
    }
}

/// Every key and its number as a member has them, without asking the others.
///
/// # Errors
/// When it does not answer.
pub async fn held(url: &str) -> Result<BTreeMap<String, u64>, String> {
    let channel = Endpoint::from_shared(url.to_owned()).expect("an URL").connect().await;
    let mut kv = KvClient::new(channel.map_err(|error| error.to_string())?)
        .max_decoding_message_size(usize::MAX);
    let request = RangeRequest {
        key: PREFIX.into(),
        range_end: "/soak0".into(),
        serializable: true,
        ..RangeRequest::default()
    };
    let found = kv.range(request).await.map_err(|status| status.to_string())?.into_inner();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(found
        .kvs
        .iter()
        .map(|kv| (text(&kv.key), text(&kv.value).parse().expect("a number")))
        .collect())
}
