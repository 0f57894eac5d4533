//! The side that is written: transactions with a marker that says how far the copy is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tonic::Code;
use watchkeep_api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};

use super::{
    MigrateError, Settings, Span,
    batch::{Batch, Write},
    leases::Leases,
    shown, target,
};
use crate::{Client, ClientError};

/// How far the copy is: what the marker holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Counts the transactions: tells one that was applied from one that was not.
    number: u64,
    /// The source's revision up to which everything is here; none while it is copied.
    followed: Option<i64>,
}

/// The target of a copy.
pub(super) struct Target {
    client: Client,
    key: Bytes,
    marker: Marker,
    /// The target's revision at which the marker was written last; 0: never.
    written_at: i64,
    force: bool,
}

impl Target {
    /// Reads the marker, and makes sure that nobody else's keys are there.
    pub(super) async fn open(
        client: &Client,
        source_cluster: u64,
        settings: &Settings,
        spans: &[Span],
    ) -> Result<Self, MigrateError> {
        let key = format!("/watchkeep/migrations/{source_cluster:016x}/{}", settings.prefix);
        let found = client.get(&key).await.map_err(target)?;
        let (written_at, marker) = match &found {
            Some(kv) => (kv.mod_revision, kv.json().map_err(target)?),
            None => (0, Marker::default()),
        };
        let mut opened = Self {
            client: client.clone(),
            key: key.into(),
            marker,
            written_at,
            force: settings.force,
        };
        if settings.force {
            // What others wrote or deleted here meanwhile is found only by comparing everything.
            opened.start_again();
            return Ok(opened);
        }
        for span in spans {
            opened.refuse_foreign(span).await?;
        }
        Ok(opened)
    }

    /// Refuses keys that were written after the marker.
    async fn refuse_foreign(&self, (from, end): &Span) -> Result<(), MigrateError> {
        let request = RangeRequest {
            key: from.clone(),
            range_end: end.clone(),
            limit: 1,
            keys_only: true,
            min_mod_revision: self.written_at + 1,
            ..Default::default()
        };
        let found = self.client.raw_range("look for keys", request).await.map_err(target)?;
        match found.kvs.first() {
            None => Ok(()),
            Some(kv) if self.written_at == 0 => Err(MigrateError::NotEmpty { key: shown(&kv.key) }),
            Some(kv) => {
                Err(MigrateError::Foreign { key: shown(&kv.key), revision: kv.mod_revision })
            }
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The source's revision up to which everything is here; none: it has to be copied.
    pub(super) fn followed(&self) -> Option<i64> {
        self.marker.followed
    }

    /// The state must be compared from the start.
    pub(super) fn start_again(&mut self) {
        self.marker.followed = None;
    }

    /// Notes that everything up to `revision` of the source is here.
    pub(super) async fn note(&mut self, revision: i64) -> Result<(), MigrateError> {
        self.write(Batch::new(), Some(revision), None).await
    }

    /// Writes a batch, and with it how far the copy is then.
    pub(super) async fn write(
        &mut self,
        mut batch: Batch,
        followed: Option<i64>,
        leases: Option<&Leases>,
    ) -> Result<(), MigrateError> {
        if let Some(leases) = leases {
            leases.prepare(&mut batch).await?;
        }
        self.marker.number += 1;
        self.marker.followed = followed;
        match self.run(&batch).await {
            Err(MigrateError::Client {
                error: ClientError::Status { code: Code::NotFound, .. },
                ..
            }) if leases.is_some() => {
                // A lease of the target has run out since it was granted: granted anew.
                if let Some(leases) = leases {
                    leases.forget(&batch);
                    leases.prepare(&mut batch).await?;
                }
                self.run(&batch).await
            }
            other => other,
        }
    }

    async fn run(&mut self, batch: &Batch) -> Result<(), MigrateError> {
        let value = serde_json::to_vec(&self.marker).unwrap_or_default();
        let mark = PutRequest { key: self.key.clone(), value: value.into(), ..Default::default() };
        let mut conditions = vec![compare(&self.key, CompareResult::Equal, self.written_at)];
        if !self.force {
            let newest = self.written_at + 1;
            conditions.extend(batch.keys().map(|key| compare(key, CompareResult::Less, newest)));
        }
        let mut success: Vec<RequestOp> =
            batch.iter().map(|(key, write)| operation(key, write)).collect();
        success.push(RequestOp { request: Some(Request::RequestPut(mark)) });
        let request = TxnRequest { compare: conditions, success, failure: Vec::new() };
        let answer = match self.client.raw_txn("write", request).await {
            Err(ClientError::Status { message, .. })
                if message.contains("request is too large") && batch.len() == 1 =>
            {
                return self.write_alone(batch).await;
            }
            other => other.map_err(target)?,
        };
        if answer.succeeded {
            self.written_at = answer.header.map_or(0, |header| header.revision);
            return Ok(());
        }
        self.explain(batch).await
    }

    /// A value that leaves no room for anything else in its request: written without conditions.
    async fn write_alone(&mut self, batch: &Batch) -> Result<(), MigrateError> {
        for (key, write) in batch {
            let Write::Put(value, lease) = write else { continue };
            self.refuse_foreign_key(key).await?;
            let success = vec![operation(key, &Write::Put(value.clone(), *lease))];
            let request = TxnRequest { success, ..Default::default() };
            self.client.raw_txn("write a large value", request).await.map_err(target)?;
        }
        Box::pin(self.run(&Batch::new())).await
    }

    async fn refuse_foreign_key(&self, key: &Bytes) -> Result<(), MigrateError> {
        if self.force {
            return Ok(());
        }
        let request = RangeRequest { key: key.clone(), keys_only: true, ..Default::default() };
        let found = self.client.raw_range("look for a key", request).await.map_err(target)?;
        match found.kvs.first() {
            Some(kv) if kv.mod_revision > self.written_at => {
                Err(MigrateError::Foreign { key: shown(key), revision: kv.mod_revision })
            }
            _ => Ok(()),
        }
    }

    /// Why a condition did not hold: it had been applied already, or somebody else writes here.
    async fn explain(&mut self, batch: &Batch) -> Result<(), MigrateError> {
        let found = self.client.get(&shown(&self.key)).await.map_err(target)?;
        let now = found.as_ref().map_or(0, |kv| kv.mod_revision);
        if let Some(kv) = found.filter(|_| now != self.written_at) {
            if kv.json::<Marker>().ok().as_ref() == Some(&self.marker) {
                self.written_at = now;
                return Ok(());
            }
            return Err(MigrateError::Another);
        }
        for key in batch.keys() {
            self.refuse_foreign_key(key).await?;
        }
        Err(MigrateError::Another)
    }
}

fn compare(key: &Bytes, result: CompareResult, mod_revision: i64) -> Compare {
    Compare {
        result: result.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
    }
}

fn operation(key: &Bytes, write: &Write) -> RequestOp {
    let request = match write {
        Write::Put(value, lease) => Request::RequestPut(PutRequest {
            key: key.clone(),
            value: value.clone(),
            lease: *lease,
            ..Default::default()
        }),
        Write::Delete => Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.clone(),
            ..Default::default()
        }),
    };
    RequestOp { request: Some(request) }
}
