//! Watchkeep and etcd side by side, both at the same revision.

use std::{collections::BTreeMap, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use watchkeep_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseLeasesRequest, LeaseRevokeRequest, PutRequest,
    RangeRequest,
};
use watchkeep_registry::{Node, RegistryConfig};

use crate::{
    etcd::{self, Etcd},
    intended,
    op::{Answer, BEFORE, Op},
    ports,
    side::Side,
};

/// How long the two may take to come up.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Pair {
    pub(crate) watchkeep: Side,
    pub(crate) etcd: Side,
    node: Node,
    config: RegistryConfig,
    process: Etcd,
    _dir: TempDir,
}

/// Where the two differed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// Which operation; none: what watchers had seen in the end.
    pub(crate) at: Option<usize>,
    pub(crate) watchkeep: String,
    pub(crate) etcd: String,
}

impl Pair {
    /// Starts both, with empty stores.
    pub(crate) async fn start() -> Self {
        let mut process = Etcd::start();
        let dir = etcd::folder();
        let peer = ([127, 0, 0, 1], ports::free()).into();
        let config = RegistryConfig {
            data_dir: dir.path().to_owned(),
            client_listen: ([127, 0, 0, 1], ports::free()).into(),
            peer_listen: peer,
            initial_cluster: BTreeMap::from([(1, peer.to_string())]),
            log_segment_bytes: 4 << 20,
            bcrypt_cost: 4,
            ..RegistryConfig::default()
        };
        let node = start(&config).await;
        let mut watchkeep = Side::new("watchkeep", &format!("http://{}", node.client_addr()));
        let mut etcd = Side::new("etcd", &process.endpoint);
        let begin = Instant::now();
        for side in [&mut watchkeep, &mut etcd] {
            while let Err(error) = revision(side).await {
                let ended = process.ended();
                assert!(begin.elapsed() < DEADLINE && ended.is_none(), "{error} {ended:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Self { watchkeep, etcd, node, config, process, _dir: dir }
    }

    /// Empties both, brings both to the same revision, and compacts up to it.
    pub(crate) async fn reset(&mut self) -> Result<i64, String> {
        let (ours, theirs) = tokio::join!(empty(&mut self.watchkeep), empty(&mut self.etcd));
        let (ours, theirs) = (ours?, theirs?);
        // Mostly both have come equally far, and only have to forget it: a third of all writes were spent on more.
        if ours == theirs && ours > BEFORE {
            let done =
                tokio::join!(compact(&mut self.watchkeep, ours), compact(&mut self.etcd, theirs));
            // Not where the sequence itself has compacted up to its end.
            if let (Ok(()), Ok(())) = done {
                return Ok(ours);
            }
        }
        let target = ours.max(theirs).max(BEFORE + 1) + 2;
        let (ours, theirs) = tokio::join!(
            fill(&mut self.watchkeep, ours, target),
            fill(&mut self.etcd, theirs, target)
        );
        ours.and(theirs).map(|()| target)
    }

    /// Runs a sequence on both from empty stores; the first difference, if there is one.
    pub(crate) async fn run(&mut self, ops: &[Op]) -> Option<Difference> {
        match self.reset().await {
            Ok(base) => self.run_from(base, ops).await,
            Err(why) => panic!("{why} {:?}", self.process.ended()),
        }
    }

    /// Runs a sequence on both as they stand, at revision `base`.
    pub(crate) async fn run_from(&mut self, base: i64, ops: &[Op]) -> Option<Difference> {
        let watches =
            ops.iter().any(|op| matches!(op, Op::Watch(_) | Op::Cancel(_) | Op::Progress));
        let (ours, theirs) =
            tokio::join!(self.watchkeep.begin(base, watches), self.etcd.begin(base, watches));
        if ours.is_err() || theirs.is_err() {
            return Some(difference(None, ours, theirs));
        }
        for (at, op) in ops.iter().enumerate() {
            let op = op.rebased(base);
            let (ours, theirs) = tokio::join!(self.watchkeep.perform(&op), self.etcd.perform(&op));
            if !same(&op, &ours, &theirs) {
                return Some(difference(Some(at), ours, theirs));
            }
        }
        let (ours, theirs) = tokio::join!(self.watchkeep.end(), self.etcd.end());
        let (ours, theirs) =
            (ours.map(|()| self.watchkeep.seen()), theirs.map(|()| self.etcd.seen()));
        (ours.is_err() || ours != theirs).then(|| difference(None, ours, theirs))
    }

    /// Whether etcd is still there.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.process.ended()
    }

    /// Ends Watchkeep's member and starts it again on its data.
    pub(crate) async fn restart(self) -> Self {
        self.node.shutdown().await;
        Self { node: start(&self.config).await, ..self }
    }

    pub(crate) async fn stop(self) {
        self.node.shutdown().await;
    }
}

async fn start(config: &RegistryConfig) -> Node {
    let begin = Instant::now();
    loop {
        match Node::start(config.clone(), &prometheus::Registry::new()).await {
            Ok(node) => return node,
            // After a restart a port is free again only when the former sockets are gone.
            Err(error) => assert!(begin.elapsed() < DEADLINE, "{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn same(op: &Op, ours: &Result<Answer, String>, theirs: &Result<Answer, String>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs || intended::difference(op, ours, theirs),
        // What hangs on both hangs: nothing was compared.
        _ => false,
    }
}

fn difference<T: std::fmt::Debug>(
    at: Option<usize>,
    ours: Result<T, String>,
    theirs: Result<T, String>,
) -> Difference {
    let text = |side: Result<T, String>| side.map_or_else(|why| why, |value| format!("{value:#?}"));
    Difference { at, watchkeep: text(ours), etcd: text(theirs) }
}

/// The store's revision.
async fn revision(side: &mut Side) -> Result<i64, String> {
    let request = RangeRequest { key: "revision".into(), ..RangeRequest::default() };
    let found = side.kv.range(request).await.map_err(|e| e.to_string())?;
    Ok(found.into_inner().header.ok_or("no header")?.revision)
}

/// Removes every lease and key; the revision then.
async fn empty(side: &mut Side) -> Result<i64, String> {
    let name = side.name;
    let text = |status: tonic::Status| format!("{name}: {status}");
    let leases = side.lease.lease_leases(LeaseLeasesRequest {}).await.map_err(text)?;
    for lease in leases.into_inner().leases {
        let request = LeaseRevokeRequest { id: lease.id };
        side.lease.lease_revoke(request).await.map_err(text)?;
    }
    clear(side).await
}

/// Removes every key; the revision then.
async fn clear(side: &mut Side) -> Result<i64, String> {
    let name = side.name;
    let text = |status: tonic::Status| format!("{name}: {status}");
    let (key, range_end) = ("\0".into(), "\0".into());
    let request = DeleteRangeRequest { key, range_end, prev_kv: false };
    let deleted = side.kv.delete_range(request).await.map_err(text)?;
    Ok(deleted.into_inner().header.ok_or("no header")?.revision)
}

/// Writes until the store, empty and at `revision`, is empty again at `target`, at least two revisions on; compacts up to
/// there.
async fn fill(side: &mut Side, mut revision: i64, target: i64) -> Result<(), String> {
    let name = side.name;
    let text = |status: tonic::Status| format!("{name}: {status}");
    while revision < target - 1 {
        let request = PutRequest { key: "reset".into(), ..PutRequest::default() };
        let done = side.kv.put(request).await.map_err(text)?;
        revision = done.into_inner().header.ok_or("no header")?.revision;
    }
    let reached = clear(side).await?;
    assert_eq!(reached, target, "{name}");
    compact(side, target).await
}

async fn compact(side: &mut Side, revision: i64) -> Result<(), String> {
    let request = CompactionRequest { revision, physical: false };
    let done = side.kv.compact(request).await;
    done.map(drop).map_err(|status| format!("{}: {status}", side.name))
}
