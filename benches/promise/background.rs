//! What goes on beside the puts: compaction every few seconds, and one backup after another. (Snapshots and purges
//! come by themselves, by the number of entries.)

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::sleep};
use tonic::{Status, transport::Endpoint};
use watchkeep_api::etcdserverpb::{
    CompactionRequest, SnapshotRequest, StatusRequest, kv_client::KvClient,
    maintenance_client::MaintenanceClient,
};

use crate::common::http;

const COMPACT_EVERY: Duration = Duration::from_secs(5);
/// Revisions that compaction leaves.
const REVISIONS_KEPT: i64 = 10_000;
/// Between two backups.
const BACKUP_PAUSE: Duration = Duration::from_secs(15);
/// What ended so long ago may still show.
const AFTERMATH: Duration = Duration::from_millis(500);
/// How often the end is looked for.
const TICK: Duration = Duration::from_millis(200);
/// Gauges of what comes by itself.
const SNAPSHOT: &str = "watchkeep_registry_raft_snapshot_index";
const PURGED: &str = "watchkeep_registry_raft_purged_index";
const MERGING: &str = "watchkeep_registry_storage_active_compactions";
const FLUSHES: &str = "watchkeep_registry_storage_outstanding_flushes";
/// Seconds without merges after which a member is taken for settled, and how long that may take.
const CALM_SECONDS: u32 = 5;
const SETTLED_SECONDS_MAX: u32 = 900;

/// What was done beside.
#[derive(Debug, Default)]
pub(crate) struct Done {
    compactions: u64,
    backups: u64,
    backup_bytes: u64,
    errors: Vec<String>,
    /// What was done and when, counted from the beginning.
    spells: Vec<Spell>,
}

/// A time during which something was done beside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spell {
    pub(crate) what: &'static str,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Done {
    /// A promise that was kept while nothing went on beside says nothing.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = self.errors.clone();
        for (what, times) in [("compaction", self.compactions), ("backup", self.backups)] {
            if times == 0 {
                faults.push(format!("there was no {what}"));
            }
        }
        faults
    }

    /// What went on at a time, or had ended shortly before.
    pub(crate) fn at(&self, time: Duration) -> Vec<&'static str> {
        let mut found: Vec<_> = self
            .spells
            .iter()
            .filter(|spell| spell.from <= time && time <= spell.to + AFTERMATH)
            .map(|spell| spell.what)
            .collect();
        found.dedup();
        found
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compactions, backups, backup_bytes, errors, .. } = self;
        write!(
            f,
            "beside: {compactions} compactions, {backups} backups of {} MiB",
            backup_bytes >> 20
        )?;
        errors
            .first()
            .map_or(Ok(()), |first| write!(f, "; {} errors, the first: {first}", errors.len()))
    }
}

/// At work.
pub(crate) struct Background {
    over: Arc<AtomicBool>,
    compacting: JoinHandle<Done>,
    backing_up: JoinHandle<Done>,
}

/// Starts it.
pub(crate) fn start(urls: &[String], revision: Arc<AtomicI64>) -> Background {
    let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let compacting = tokio::spawn(compact(urls[0].clone(), revision, Arc::clone(&over), began));
    let backing_up = tokio::spawn(back_up(urls.to_vec(), Arc::clone(&over), began));
    Background { over, compacting, backing_up }
}

impl Background {
    /// Ends it, after the backup that is under way.
    pub(crate) async fn stop(self) -> Done {
        self.over.store(true, Ordering::SeqCst);
        let compacted = self.compacting.await.expect("it did not fail");
        let backed_up = self.backing_up.await.expect("it did not fail");
        Done {
            compactions: compacted.compactions,
            errors: [compacted.errors, backed_up.errors].concat(),
            spells: [compacted.spells, backed_up.spells].concat(),
            ..backed_up
        }
    }
}

async fn pause(time: Duration, over: &AtomicBool) {
    let mut left = time;
    while !left.is_zero() && !over.load(Ordering::SeqCst) {
        sleep(TICK.min(left)).await;
        left = left.saturating_sub(TICK);
    }
}

async fn compact(
    url: String,
    revision: Arc<AtomicI64>,
    over: Arc<AtomicBool>,
    began: Instant,
) -> Done {
    let mut done = Done::default();
    let channel = Endpoint::from_shared(url).expect("an URL").connect_lazy();
    let (mut kv, mut compacted) = (KvClient::new(channel), 0);
    while !over.load(Ordering::SeqCst) {
        pause(COMPACT_EVERY, &over).await;
        let revision = revision.load(Ordering::Relaxed) - REVISIONS_KEPT;
        if revision > compacted {
            compacted = revision;
            let from = began.elapsed();
            match kv.compact(CompactionRequest { revision, physical: false }).await {
                Ok(_) => done.compactions += 1,
                Err(status) => done.errors.push(format!("compact: {status}")),
            }
            done.spells.push(Spell { what: "compaction", from, to: began.elapsed() });
        }
    }
    done
}

async fn back_up(urls: Vec<String>, over: Arc<AtomicBool>, began: Instant) -> Done {
    let mut done = Done::default();
    for url in urls.iter().cycle() {
        let from = began.elapsed();
        match backup(url).await {
            Ok(bytes) => {
                done.backups += 1;
                done.backup_bytes = bytes;
            }
            Err(status) => done.errors.push(format!("backup: {status}")),
        }
        done.spells.push(Spell { what: "backup", from, to: began.elapsed() });
        pause(BACKUP_PAUSE, &over).await;
        if over.load(Ordering::SeqCst) {
            break;
        }
    }
    done
}

/// The Raft term, as the first member sees it: it rises with each election.
pub(crate) async fn term(urls: &[String]) -> Result<u64, Status> {
    let channel = Endpoint::from_shared(urls[0].clone()).expect("an URL").connect_lazy();
    let status = MaintenanceClient::new(channel).status(StatusRequest {}).await?;
    Ok(status.into_inner().raft_term)
}

/// How far each member's snapshots and purges have come.
pub(crate) async fn housekeeping(urls: &[String]) -> Result<Vec<[f64; 2]>, String> {
    values(urls, [SNAPSHOT, PURGED]).await
}

/// These metrics of each member.
async fn values(urls: &[String], names: [&str; 2]) -> Result<Vec<[f64; 2]>, String> {
    let mut members = Vec::new();
    for url in urls {
        let page = http::text(http::client().get(format!("{url}/metrics"))).await?;
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok())
                .ok_or_else(|| format!("{url}/metrics has no {name}"))
        };
        members.push([value(names[0])?, value(names[1])?]);
    }
    Ok(members)
}

/// Waits until no member has had anything to merge or to write out for a while: what is measured next is not what the
/// filling left behind.
pub(crate) async fn settled(urls: &[String]) {
    let (mut calm, mut seconds) = (0, 0);
    while calm < CALM_SECONDS {
        assert!(seconds < SETTLED_SECONDS_MAX, "still merging after {seconds} s");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let busy = values(urls, [MERGING, FLUSHES]).await.expect("metrics");
        calm = if busy.iter().flatten().all(|value| *value == 0.0) { calm + 1 } else { 0 };
        seconds += 1;
    }
}

/// Members that made no snapshot or purged nothing meanwhile.
pub(crate) fn idle(before: &[[f64; 2]], after: &[[f64; 2]]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, (before, after)) in before.iter().zip(after).enumerate() {
        for (name, (before, after)) in [SNAPSHOT, PURGED].iter().zip(before.iter().zip(after)) {
            if after <= before {
                faults.push(format!("member {}: {name} stays at {after}", at + 1));
            }
        }
    }
    faults
}

/// Takes a whole backup from one member; its bytes.
async fn backup(url: &str) -> Result<u64, Status> {
    let channel = Endpoint::from_shared(url.to_owned()).expect("an URL").connect_lazy();
    let mut client = MaintenanceClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut parts = client.snapshot(SnapshotRequest {}).await?.into_inner();
    let mut bytes = 0;
    while let Some(part) = parts.message().await? {
        bytes += part.blob.len() as u64;
    }
    Ok(bytes)
}
