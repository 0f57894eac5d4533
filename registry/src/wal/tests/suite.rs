//! openraft's own suite for log storages, with the least state machine that it accepts.

use std::{
    io::{self, Cursor},
    sync::{Arc, Mutex},
};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StoredMembership,
    alias::{SnapshotMetaOf, SnapshotOf, StoredMembershipOf},
    storage::{EntryResponder, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};

use super::open;
use crate::{
    raft::types::TypeConfig,
    wal::{LogId, LogStore},
};

/// Remembers what was applied last, and the last snapshot.
#[derive(Debug, Clone, Default)]
struct Applied(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    last: Option<LogId>,
    membership: StoredMembershipOf<TypeConfig>,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

type SnapshotBytes = Cursor<Vec<u8>>;

fn snapshot(meta: SnapshotMetaOf<TypeConfig>) -> SnapshotOf<TypeConfig, SnapshotBytes> {
    Snapshot { meta, snapshot: Cursor::default() }
}

impl RaftSnapshotBuilder<TypeConfig> for Applied {
    type SnapshotData = SnapshotBytes;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotBytes>> {
        let mut inner = self.0.lock().unwrap();
        let meta =
            SnapshotMeta { last_log_id: inner.last, last_membership: inner.membership.clone() };
        inner.snapshot = Some(meta.clone());
        Ok(snapshot(meta))
    }
}

impl RaftStateMachine<TypeConfig> for Applied {
    type SnapshotData = SnapshotBytes;
    type SnapshotBuilder = Applied;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogId>, StoredMembershipOf<TypeConfig>)> {
        let inner = self.0.lock().unwrap();
        Ok((inner.last, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, _responder)) = entries.try_next().await? {
            let mut inner = self.0.lock().unwrap();
            inner.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                inner.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Applied {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        _snapshot: SnapshotBytes,
    ) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.last = meta.last_log_id;
        inner.membership = meta.last_membership.clone();
        inner.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotBytes>>> {
        Ok(self.0.lock().unwrap().snapshot.clone().map(snapshot))
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Applied, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, Applied), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Ok((dir, store, Applied::default()))
    }
}

#[tokio::test]
async fn openraft_accepts_the_log() {
    Suite::test_all(Builder).await.unwrap();
}
