//! Applying one command.

use bytes::Bytes;

use super::{
    alarm::{alarm_key, alarms, refused_by},
    draft::{Draft, Write},
    keys::{Bounds, event_key, history_key, history_prefix, lease_key},
    lease,
    range::stored,
    refusal::Refusal,
    txn,
    view::{MEMBER, Table, View, ViewError},
};
use crate::schema::{
    Alarm, Applied, Body, Change, Command, Delete, DeleteOutcome, Event, Grant, KeyValue, Lease,
    LeaseRest, MemberInfo, Outcome, Put, PutOutcome,
};

/// Where an entry stands in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) term: u64,
}

/// What applying a command amounts to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// To be written, in one batch.
    pub(crate) writes: Vec<Write>,
    /// The answer.
    pub(crate) outcome: Outcome,
    /// The revision's events, in order.
    pub(crate) events: Vec<Event>,
    /// A lease granted, for the lessor.
    pub(crate) granted: Option<(i64, Lease)>,
    /// Leases whose rest was noted, or is no more, for the lessor.
    pub(crate) checkpointed: Vec<(i64, Lease)>,
    /// A lease revoked, for the lessor.
    pub(crate) revoked: Option<i64>,
}

/// Applies `command`. `applied` is the state machine's position and is moved on (revision, compact revision);
/// a refused command changes nothing.
pub(crate) fn apply<V: View>(
    view: &V,
    applied: &mut Applied,
    command: &Command,
    place: Place,
) -> Result<Effects, ViewError> {
    let refused = command.body.as_ref().and_then(|body| refused_by(applied.alarms, body));
    if let Some(refusal) = refused {
        let (refusal, revision, term) = (refusal as u32, applied.revision, place.term);
        let outcome = Outcome { revision, term, refusal, ..Outcome::default() };
        return Ok(Effects { outcome, ..Effects::default() });
    }
    let mut writer = Writer {
        draft: Draft::new(view),
        events: Vec::new(),
        revision: applied.revision,
        compacted: applied.compact_revision,
        keys: applied.keys,
    };
    let mut effects = Effects::default();
    let answer = match &command.body {
        Some(Body::Txn(request)) => txn::run(&mut writer, request)?.map(Some),
        Some(Body::Grant(grant)) => writer.grant(grant, command.time_ms)?.map(|lease| {
            effects.granted = Some((grant.id, lease));
            None
        }),
        Some(Body::Revoke(revoke)) if revoke.term != 0 && revoke.term != place.term => {
            Err(Refusal::FormerTerm)
        }
        Some(Body::Revoke(revoke)) => writer.revoke(revoke.id)?.map(|()| {
            effects.revoked = Some(revoke.id);
            None
        }),
        Some(Body::LeaseCheckpoint(checkpoint)) if checkpoint.term != place.term => {
            Err(Refusal::FormerTerm)
        }
        Some(Body::LeaseCheckpoint(checkpoint)) => {
            effects.checkpointed = writer.checkpoint(&checkpoint.rests)?;
            Ok(None)
        }
        Some(Body::Compact(compact)) => writer.compact(compact.revision).map(|()| {
            applied.compact_revision = compact.revision;
            None
        }),
        Some(Body::Publish(info)) => {
            writer.publish(info);
            Ok(None)
        }
        Some(Body::Alarm(alarm)) => {
            (effects.outcome.alarm, applied.alarms) = writer.alarm(alarm)?;
            Ok(None)
        }
        // Users and roles are changed before this (`auth/live.rs`): they are no keys.
        Some(Body::Auth(_)) | None => Ok(None),
    };
    match answer {
        Ok(txn) => {
            applied.revision = writer.seen_revision();
            applied.keys = writer.keys;
            effects.outcome.txn = txn;
            effects.events = writer.events;
            effects.writes = writer.draft.into_writes();
        }
        Err(refusal) => effects.outcome.refusal = refusal as u32,
    }
    effects.outcome.revision = applied.revision;
    effects.outcome.term = place.term;
    Ok(effects)
}

/// The newest version of a key, decoded and as it is stored.
struct Standing {
    kv: KeyValue,
    bytes: Bytes,
}

impl Standing {
    fn new(key: Bytes, bytes: Bytes) -> Result<Self, ViewError> {
        Ok(Self { kv: stored(key, bytes.clone())?, bytes })
    }
}

fn position_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Writes of one command, at the revision after the current one.
pub(super) struct Writer<'v, V> {
    draft: Draft<'v, V>,
    events: Vec<Event>,
    revision: i64,
    compacted: i64,
    keys: i64,
}

impl<'v, V: View> Writer<'v, V> {
    pub(super) fn view(&self) -> &Draft<'v, V> {
        &self.draft
    }

    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The revision that a read sees here: the next one as soon as something is written.
    pub(super) fn seen_revision(&self) -> i64 {
        self.revision + i64::from(!self.events.is_empty())
    }

    fn latest(&self, key: &Bytes) -> Result<Option<Standing>, ViewError> {
        let found = self.draft.get(Table::Latest, key)?;
        found.map(|bytes| Standing::new(key.clone(), bytes)).transpose()
    }

    /// The versions in a range.
    fn standing(&self, bounds: Bounds<'_>) -> Result<Vec<Standing>, ViewError> {
        if bounds.is_point() {
            let key = Bytes::copy_from_slice(bounds.from());
            return Ok(self.latest(&key)?.into_iter().collect());
        }
        if bounds.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.draft.scan(Table::Latest, bounds.from(), bounds.to());
        rows.map(|row| row.and_then(|(key, bytes)| Standing::new(key, bytes))).collect()
    }

    pub(super) fn put(&mut self, request: &Put) -> Result<Result<PutOutcome, Refusal>, ViewError> {
        if !lease::lease_exists(&self.draft, request.lease)? {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        let prev = self.latest(&request.key)?;
        if prev.is_none() && (request.ignore_value || request.ignore_lease) {
            return Ok(Err(Refusal::KeyNotFound));
        }
        let revision = self.revision + 1;
        let mut kv = KeyValue {
            key: request.key.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value: request.value.clone(),
            lease: request.lease,
        };
        if let Some(Standing { kv: prev, .. }) = &prev {
            kv.create_revision = prev.create_revision;
            kv.version = prev.version + 1;
            if request.ignore_value {
                kv.value = prev.value.clone();
            }
            if request.ignore_lease {
                kv.lease = prev.lease;
            }
        }
        let before = prev.as_ref().map_or(0, |prev| prev.kv.lease);
        if before != kv.lease {
            if before != 0 {
                self.draft.delete(Table::LeaseKeys, lease_key(before, &kv.key));
            }
            if kv.lease != 0 {
                let row = lease_key(kv.lease, &kv.key);
                self.draft.put_bytes(Table::LeaseKeys, row, Bytes::new());
            }
        }
        match &prev {
            Some(prev) => self.end(prev),
            None => self.keys += 1,
        }
        self.draft.put(Table::Latest, kv.key.clone(), KeyValue { key: Bytes::new(), ..kv.clone() });
        self.record(Event { deleted: false, kv });
        Ok(Ok(PutOutcome {
            prev: if request.prev_kv { prev.map(|prev| prev.kv) } else { None },
            revision: self.seen_revision(),
        }))
    }

    pub(super) fn delete(&mut self, request: &Delete) -> Result<DeleteOutcome, ViewError> {
        let bounds = Bounds::new(&request.key, &request.range_end);
        let found = self.standing(bounds)?;
        let deleted = i64::try_from(found.len()).unwrap_or(i64::MAX);
        found.iter().for_each(|version| self.remove(version));
        Ok(DeleteOutcome {
            deleted,
            prev: if request.prev_kv {
                found.into_iter().map(|version| version.kv).collect()
            } else {
                Vec::new()
            },
            revision: self.seen_revision(),
        })
    }

    fn remove(&mut self, version: &Standing) {
        let kv = &version.kv;
        self.end(version);
        self.keys -= 1;
        if kv.lease != 0 {
            self.draft.delete(Table::LeaseKeys, lease_key(kv.lease, &kv.key));
        }
        self.draft.delete(Table::Latest, kv.key.clone());
        let mod_revision = self.revision + 1;
        let kv = KeyValue { key: kv.key.clone(), mod_revision, ..KeyValue::default() };
        self.record(Event { deleted: true, kv });
    }

    /// Keeps a version that ceases to stand.
    fn end(&mut self, version: &Standing) {
        let revision = self.revision + 1;
        if version.kv.mod_revision < revision {
            let row = history_key(&history_prefix(&version.kv.key), revision.unsigned_abs());
            return self.draft.put_bytes(Table::History, row, version.bytes.clone());
        }
        // Nearly never: etcd lets a transaction put a key and delete it again, if it looks the right way. No read ever
        // sees that version, but a watch does.
        let same = |event: &Event| event.kv.key == version.kv.key;
        if let Some(position) = self.events.iter().rposition(same) {
            let kv = KeyValue { key: Bytes::new(), ..version.kv.clone() };
            let change = Change { deleted: false, key: version.kv.key.clone(), kv: Some(kv) };
            self.draft.put(Table::Events, event_key(revision, position_of(position)), change);
        }
    }

    /// Notes one change in `events`.
    fn record(&mut self, event: Event) {
        let row = event_key(self.revision + 1, position_of(self.events.len()));
        let change = Change { deleted: event.deleted, key: event.kv.key.clone(), kv: None };
        self.draft.put(Table::Events, row, change);
        self.events.push(event);
    }

    fn grant(&mut self, grant: &Grant, now_ms: i64) -> Result<Result<Lease, Refusal>, ViewError> {
        let key = lease_key(grant.id, b"");
        if self.draft.get(Table::Leases, &key)?.is_some() {
            return Ok(Err(Refusal::LeaseExists));
        }
        let lease = Lease { ttl_seconds: grant.ttl_seconds, granted_ms: now_ms, left_ms: 0 };
        self.draft.put(Table::Leases, key, lease);
        Ok(Ok(lease))
    }

    /// Notes what is left of leases, those that exist.
    fn checkpoint(&mut self, rests: &[LeaseRest]) -> Result<Vec<(i64, Lease)>, ViewError> {
        let mut noted = Vec::new();
        for LeaseRest { id, left_ms } in rests {
            let key = lease_key(*id, b"");
            if let Some(lease) = self.draft.record::<Lease>(Table::Leases, &key)? {
                let lease = Lease { left_ms: *left_ms, ..lease };
                self.draft.put(Table::Leases, key, lease);
                noted.push((*id, lease));
            }
        }
        Ok(noted)
    }

    /// Takes a lease away with all its keys, at one revision, in the keys' order.
    fn revoke(&mut self, id: i64) -> Result<Result<(), Refusal>, ViewError> {
        let key = lease_key(id, b"");
        if self.draft.get(Table::Leases, &key)?.is_none() {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        self.draft.delete(Table::Leases, key);
        for key in lease::lease_keys(&self.draft, id)? {
            if let Some(version) = self.latest(&key)? {
                self.remove(&version);
            }
        }
        Ok(Ok(()))
    }

    fn compact(&self, revision: i64) -> Result<(), Refusal> {
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        Ok(())
    }

    /// Whether the alarm is raised now, or was until now; and which alarms are raised.
    fn alarm(&mut self, alarm: &Alarm) -> Result<(bool, u32), ViewError> {
        let key = alarm_key(alarm.kind, alarm.member);
        let was = self.draft.get(Table::Meta, &key)?.is_some();
        if alarm.raise && !was {
            self.draft.put_bytes(Table::Meta, key, Bytes::new());
        } else if !alarm.raise && was {
            self.draft.delete(Table::Meta, key);
        }
        let raised = alarms(&self.draft)?
            .iter()
            .fold(0, |mask, (kind, _)| mask | 1u32.checked_shl(*kind).unwrap_or_default());
        Ok((alarm.raise || was, raised))
    }

    fn publish(&mut self, info: &MemberInfo) {
        let key = [MEMBER, &info.id.to_be_bytes()].concat();
        self.draft.put(Table::Meta, key.into(), info.clone());
    }
}
