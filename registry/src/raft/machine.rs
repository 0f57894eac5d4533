//! The state machine behind openraft's trait: decodes a command, lets `mvcc` apply it, hands the writes to the
//! store, the events to the watchers and leases to the lessor.

use std::{io, sync::Arc};

use futures::{Stream, StreamExt};
use openraft::{EntryPayload, RaftSnapshotBuilder, storage::RaftStateMachine};
use prost::Message;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::watch,
};
use tracing::debug_span;

use super::types::{Entry, LogId, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::{
    auth::Auth,
    lessor::Lessor,
    metrics::Metrics,
    mvcc::{self, Place},
    schema::{Applied, Body, Command, Event, Op, OpKind, Outcome, Txn},
    store::{SnapshotFile, Store, StoreError, StoreView},
    watch::Hub,
};

/// A snapshot: on the sending side a view, on the receiving side a file.
pub(crate) enum SnapshotData {
    /// Of the own state.
    View(StoreView),
    /// Received from the leader.
    File(SnapshotFile),
}

/// The state machine.
pub(crate) struct StateMachine {
    store: Store,
    hub: Arc<Hub>,
    lessor: Arc<Lessor>,
    auth: Arc<Auth>,
    metrics: Arc<Metrics>,
    applied: Applied,
    index: watch::Sender<u64>,
}

impl StateMachine {
    pub(crate) fn new(
        store: Store,
        hub: Arc<Hub>,
        lessor: Arc<Lessor>,
        auth: Arc<Auth>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let applied = Applied::clone(&store.applied());
        let index = watch::Sender::new(applied.index);
        Self { store, hub, lessor, auth, metrics, applied, index }
    }

    /// The applied index, for those who wait for it.
    pub(crate) fn applied_index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    async fn apply_entry(&mut self, entry: Entry) -> Result<Outcome, StoreError> {
        let log_id = entry.log_id;
        self.applied.any = true;
        self.applied.index = log_id.index;
        self.applied.term = log_id.leader_id.term;
        self.applied.leader = log_id.leader_id.node_id;
        let mut effects = mvcc::Effects::default();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(encoded) => {
                let command = Command::decode(encoded.0).map_err(|e| {
                    StoreError::Stopped(format!("log entry {log_id} cannot be read: {e}"))
                })?;
                let span = debug_span!("apply", index = log_id.index);
                watchkeep_api::trace::set_parent(&span, Some(&command.trace_parent));
                let place = Place { term: log_id.leader_id.term };
                if let Some(Body::Txn(txn)) = &command.body
                    && (!txn.compare.is_empty() || txn.success.len() + txn.failure.len() > 1)
                {
                    self.metrics.etcd.txn();
                }
                let Self { auth, store, applied, .. } = self;
                let mut apply = || auth.apply(&store.live(), applied, &command, place);
                effects =
                    span.in_scope(|| if scans(&command) { aside(&mut apply) } else { apply() })?;
            }
            EntryPayload::Membership(membership) => {
                let ids: Vec<u64> = membership.nodes().map(|(id, _)| *id).collect();
                effects.writes = mvcc::membership_changed(&self.store.live(), &ids)?;
                let stored = StoredMembership::new(Some(log_id), membership);
                self.applied.membership = encode_membership(&stored)?;
            }
        }
        self.store.push(effects.writes, self.applied.clone());
        if let Some((id, lease)) = effects.granted {
            self.metrics.leases_granted.inc();
            #[expect(clippy::cast_precision_loss, reason = "a TTL is at most nine billion")]
            self.metrics.etcd.lease_ttl.observe(lease.ttl_seconds as f64);
            self.lessor.granted(id, lease);
        }
        if !effects.checkpointed.is_empty() {
            self.metrics.lease_checkpoints.inc_by(effects.checkpointed.len() as u64);
            self.lessor.checkpointed(&effects.checkpointed);
        }
        if let Some(id) = effects.revoked {
            self.metrics.leases_revoked.inc();
            self.lessor.revoked(id);
        }
        if !effects.events.is_empty() {
            self.count(&effects.events);
            self.hub.publish(self.applied.revision, effects.events);
        }
        Ok(Outcome { index: log_id.index, ..effects.outcome })
    }
}

impl StateMachine {
    /// Counts what was put and deleted.
    fn count(&self, events: &[Event]) {
        let (mut puts, mut bytes) = (0, 0);
        for event in events.iter().filter(|event| !event.deleted) {
            puts += 1;
            bytes += event.kv.key.len() + event.kv.value.len();
        }
        self.metrics.etcd.wrote(puts, bytes as u64, events.len() as u64 - puts);
    }
}

/// Whether it may go through many keys, so that applying it takes its time.
fn scans(command: &Command) -> bool {
    fn of_txn(txn: &Txn) -> bool {
        let of_op = |op: &Op| match &op.kind {
            Some(OpKind::Range(range)) => !range.range_end.is_empty(),
            Some(OpKind::Delete(delete)) => !delete.range_end.is_empty(),
            Some(OpKind::Txn(inner)) => of_txn(inner),
            Some(OpKind::Put(_)) | None => false,
        };
        txn.compare.iter().any(|compare| !compare.range_end.is_empty())
            || txn.success.iter().chain(&txn.failure).any(of_op)
    }
    match &command.body {
        Some(Body::Txn(txn)) => of_txn(txn),
        Some(Body::Revoke(_)) => true,
        _ => false,
    }
}

/// Does what takes its time while other tasks, heartbeats among them, go on elsewhere.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((log_id(&self.applied), stored_membership(&self.applied)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<openraft::storage::EntryResponder<TypeConfig>, io::Error>>
            + Unpin
            + Send,
    {
        self.store.room().await.map_err(io::Error::other)?;
        let began = std::time::Instant::now();
        let mut count = 0u32;
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let outcome = self.apply_entry(entry).await.map_err(io::Error::other)?;
            if let Some(responder) = responder {
                responder.send(Reply { outcome: Some(outcome) });
            }
            count += 1;
        }
        self.index.send_replace(self.applied.index);
        self.metrics.applied(count, began.elapsed());
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let store = self.store.clone();
        Builder { store, view: self.store.view() }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        // A view is of its own state, taken when it was: nothing to do.
        let SnapshotData::File(file) = snapshot else { return Ok(()) };
        if log_id(file.applied()) != meta.last_log_id {
            let found = file.applied().index;
            return Err(io::Error::other(format!(
                "snapshot: its content is of log index {found}, its head says {:?}",
                meta.last_log_id
            )));
        }
        self.auth.replace();
        self.applied = self.store.install(file).await.map_err(io::Error::other)?;
        self.auth.reset(&self.store.view()).map_err(io::Error::other)?;
        let leases = mvcc::leases(&self.store.view()).map_err(io::Error::other)?;
        self.lessor.reset(leases);
        self.hub.reset(self.applied.revision);
        self.index.send_replace(self.applied.index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if !self.applied.any {
            return Ok(None);
        }
        // Always of the newest state: it costs nothing to take one.
        snapshot_of(self.store.view()).map(Some)
    }
}

/// Makes a snapshot: a view whose every row is on disk.
pub(crate) struct Builder {
    store: Store,
    view: StoreView,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        // The log is purged up to here: what it held must be on disk before.
        self.store.flush().await.map_err(io::Error::other)?;
        snapshot_of(self.view.clone())
    }
}

fn snapshot_of(view: StoreView) -> Result<Snapshot, io::Error> {
    let applied = view.applied();
    let meta =
        SnapshotMeta { last_log_id: log_id(applied), last_membership: stored_membership(applied)? };
    Ok(Snapshot { meta, snapshot: SnapshotData::View(view) })
}

pub(super) fn log_id(applied: &Applied) -> Option<LogId> {
    applied.any.then(|| {
        let leader_id =
            openraft::vote::RaftLeaderId::to_committed(&openraft::impls::leader_id_adv::LeaderId {
                term: applied.term,
                node_id: applied.leader,
            });
        LogId { leader_id, index: applied.index }
    })
}

/// The membership as of `applied`.
pub(crate) fn stored_membership(applied: &Applied) -> Result<StoredMembership, io::Error> {
    if applied.membership.is_empty() {
        return Ok(StoredMembership::default());
    }
    serde_json::from_slice(&applied.membership).map_err(io::Error::other)
}

fn encode_membership(membership: &StoredMembership) -> Result<bytes::Bytes, StoreError> {
    serde_json::to_vec(membership)
        .map(bytes::Bytes::from)
        .map_err(|e| StoreError::Stopped(format!("membership cannot be written: {e}")))
}
