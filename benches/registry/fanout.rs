//! Watch fan-out: many watchers of one key; how late they hear of a put, and how many events they take at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{load::connect, side::Side};

const WATCHERS: usize = 1_000;
/// Connections that carry them: ten streams each.
const CONNECTIONS: usize = 100;
const KEY: &str = "/fanout";
/// Puts a second while lateness is measured.
const PACE: u32 = 20;
/// Clients that put without a pause.
const WRITERS: usize = 8;
/// Most lateness that is waited for behind the last put.
const DRAIN: Duration = Duration::from_secs(10);

/// What the two parts measured.
#[derive(Clone, Copy)]
pub(crate) struct Fanout {
    pub(crate) p99_ms: f64,
    pub(crate) events_per_second: f64,
    /// Server CPU per delivered event while saturated.
    pub(crate) cpu_us: f64,
}

/// Watchers that report how late each event came, or only count.
struct Watchers {
    tasks: JoinSet<()>,
    count: Arc<AtomicU64>,
    timed: Arc<AtomicBool>,
    lateness: mpsc::UnboundedReceiver<Duration>,
}

impl Watchers {
    async fn start(urls: &[String], epoch: Instant) -> Self {
        let (sender, lateness) = mpsc::unbounded_channel();
        let (count, timed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let mut tasks = JoinSet::new();
        let connections = connect(urls, CONNECTIONS).await;
        for at in 0..WATCHERS {
            let mut client = connections[at % connections.len()].clone();
            let mut stream = client.watch(KEY, None).await.expect("watch");
            let (sender, count, timed) = (sender.clone(), Arc::clone(&count), Arc::clone(&timed));
            tasks.spawn(async move {
                while let Ok(Some(response)) = stream.message().await {
                    let now = epoch.elapsed();
                    count.fetch_add(response.events().len() as u64, Ordering::Relaxed);
                    for event in response.events() {
                        let sent = event.kv().and_then(|kv| kv.value().try_into().ok());
                        let sent = Duration::from_nanos(u64::from_be_bytes(sent.expect("a time")));
                        if timed.load(Ordering::Relaxed) {
                            let _ = sender.send(now.saturating_sub(sent));
                        }
                    }
                }
            });
        }
        Self { tasks, count, timed, lateness }
    }
}

/// Measures lateness at a slow pace, then the most that is delivered.
pub(crate) async fn fanout(side: &mut Side, time: Duration) -> Fanout {
    let epoch = Instant::now();
    let urls = side.urls();
    let mut watchers = Watchers::start(&urls, epoch).await;
    let mut writers = connect(&urls, WRITERS).await;
    let stamp =
        move || u64::try_from(epoch.elapsed().as_nanos()).expect("short").to_be_bytes().to_vec();

    let puts = usize::try_from(PACE).expect("few") * usize::try_from(time.as_secs()).expect("few");
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PACE);
    for _ in 0..puts {
        ticks.tick().await;
        writers[0].put(KEY, stamp(), None).await.expect("put");
    }
    let mut late = Vec::new();
    while late.len() < puts * WATCHERS {
        let next = tokio::time::timeout(DRAIN, watchers.lateness.recv()).await;
        late.push(next.expect("every event arrives").expect("watchers run"));
    }
    late.sort_unstable();
    let p99_ms = late[late.len() * 99 / 100].as_secs_f64() * 1e3;

    watchers.timed.store(false, Ordering::Relaxed);
    let until = Instant::now() + time;
    let mut putting = JoinSet::new();
    for mut writer in writers {
        putting.spawn(async move {
            while Instant::now() < until {
                writer.put(KEY, stamp(), None).await.expect("put");
            }
        });
    }
    let (before, cpu, begin) =
        (watchers.count.load(Ordering::Relaxed), side.cpu_seconds(), Instant::now());
    tokio::time::sleep_until(until.into()).await;
    let events = (watchers.count.load(Ordering::Relaxed) - before) as f64;
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), side.cpu_seconds() - cpu);
    while putting.join_next().await.is_some() {}
    watchers.tasks.shutdown().await;
    Fanout { p99_ms, events_per_second: events / seconds, cpu_us: cpu / events * 1e6 }
}
