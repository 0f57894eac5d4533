//! Applying one command.

use bytes::Bytes;

use super::{
    alarm::{alarm_key, alarms, refused_by},
    draft::{Draft, Write},
    keys::{Bounds, event_key, history_key, history_prefix, lease_key},
    lease,
    range::latest,
    refusal::Refusal,
    txn,
    view::{MEMBER, Table, View, ViewError},
};
use crate::schema::{
    Alarm, Applied, Body, Command, Delete, DeleteOutcome, Event, Grant, KeyValue, Lease,
    MemberInfo, Outcome, Put, PutOutcome, Version,
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

/// Writes of one command, at the revision after the current one.
pub(super) struct Writer<'v, V> {
    draft: Draft<'v, V>,
    events: Vec<Event>,
    revision: i64,
    compacted: i64,
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

    fn latest(&self, key: &Bytes) -> Result<Option<KeyValue>, ViewError> {
        latest(&self.draft, Bounds::new(key, b"")).next().transpose()
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
        if let Some(prev) = &prev {
            kv.create_revision = prev.create_revision;
            kv.version = prev.version + 1;
            if request.ignore_value {
                kv.value = prev.value.clone();
            }
            if request.ignore_lease {
                kv.lease = prev.lease;
            }
        }
        let before = prev.as_ref().map_or(0, |prev| prev.lease);
        if before != kv.lease {
            if before != 0 {
                self.draft.delete(Table::LeaseKeys, lease_key(before, &kv.key));
            }
            if kv.lease != 0 {
                self.draft.put_empty(Table::LeaseKeys, lease_key(kv.lease, &kv.key));
            }
        }
        self.draft.put(Table::Latest, kv.key.clone(), KeyValue { key: Bytes::new(), ..kv.clone() });
        self.record(Event { deleted: false, kv });
        Ok(Ok(PutOutcome {
            prev: if request.prev_kv { prev } else { None },
            revision: self.seen_revision(),
        }))
    }

    pub(super) fn delete(&mut self, request: &Delete) -> Result<DeleteOutcome, ViewError> {
        let bounds = Bounds::new(&request.key, &request.range_end);
        let found = latest(&self.draft, bounds).collect::<Result<Vec<_>, _>>()?;
        let deleted = i64::try_from(found.len()).unwrap_or(i64::MAX);
        for kv in &found {
            self.remove(kv);
        }
        Ok(DeleteOutcome {
            deleted,
            prev: if request.prev_kv { found } else { Vec::new() },
            revision: self.seen_revision(),
        })
    }

    fn remove(&mut self, kv: &KeyValue) {
        if kv.lease != 0 {
            self.draft.delete(Table::LeaseKeys, lease_key(kv.lease, &kv.key));
        }
        self.draft.delete(Table::Latest, kv.key.clone());
        let mod_revision = self.revision + 1;
        let kv = KeyValue { key: kv.key.clone(), mod_revision, ..KeyValue::default() };
        self.record(Event { deleted: true, kv });
    }

    /// Notes one change in `history` and `events`.
    fn record(&mut self, event: Event) {
        let position = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let revision = self.revision + 1;
        let key = history_key(&history_prefix(&event.kv.key), revision.unsigned_abs());
        // Nearly never: etcd lets a transaction put a key and delete it again, if it looks the right way.
        let again = self.draft.has_written(Table::History, &key);
        self.draft.put(Table::History, key, Version { position, deleted: event.deleted, again });
        self.draft.put(Table::Events, event_key(revision, position), event.clone());
        self.events.push(event);
    }

    fn grant(&mut self, grant: &Grant, now_ms: i64) -> Result<Result<Lease, Refusal>, ViewError> {
        let key = lease_key(grant.id, b"");
        if self.draft.get(Table::Leases, &key)?.is_some() {
            return Ok(Err(Refusal::LeaseExists));
        }
        let lease = Lease { ttl_seconds: grant.ttl_seconds, granted_ms: now_ms };
        self.draft.put(Table::Leases, key, lease);
        Ok(Ok(lease))
    }

    /// Takes a lease away with all its keys, at one revision, in the keys' order.
    fn revoke(&mut self, id: i64) -> Result<Result<(), Refusal>, ViewError> {
        let key = lease_key(id, b"");
        if self.draft.get(Table::Leases, &key)?.is_none() {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        self.draft.delete(Table::Leases, key);
        for key in lease::lease_keys(&self.draft, id)? {
            if let Some(kv) = self.latest(&key)? {
                self.remove(&kv);
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
            self.draft.put_empty(Table::Meta, key);
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
