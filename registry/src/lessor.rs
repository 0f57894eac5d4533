//! How much of each lease is left: the leader's memory. A member that is not the leader only knows which leases there
//! are.
//!
//! A renewal is not in the log. So that the rest of a long lease survives a change of leader all the same, the leader
//! notes it in the log now and then (a checkpoint), and the next leader goes on from there. A lease that is noted may be
//! renewed only after the note has been taken back, since the next leader must not know of the rest and miss the renewal:
//!
//! ```text
//! grant ─▶ checkpoint interval passes ─▶ rest noted ─▶ renewal: note taken back in the log, then answered ─▶ …
//! ```
//!
//! So no lease runs out early, and a change of leader prolongs one by at most the interval, apart from the time
//! without a leader and until it is noted. Leases that are shorter, or renewed more often, are never noted.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::schema::{Lease, LeaseRest};

/// Rests noted, or taken back, in one command.
pub(crate) const CHECKPOINTS_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy)]
struct Held {
    ttl_seconds: i64,
    /// What was left when it was last noted.
    rest: Option<Duration>,
    /// The log has a note of its rest, or may get one.
    noted: bool,
    /// On the leader: when it runs out.
    deadline: Option<Instant>,
    /// On the leader: when its rest is to be noted.
    checkpoint: Option<Instant>,
    /// Its revocation is on the way.
    expiring: bool,
}

impl Held {
    fn of(lease: &Lease) -> Self {
        let rest = u64::try_from(lease.left_ms).ok().filter(|left| *left > 0);
        let rest = rest.map(Duration::from_millis);
        Self {
            ttl_seconds: lease.ttl_seconds,
            rest,
            noted: rest.is_some(),
            deadline: None,
            checkpoint: None,
            expiring: false,
        }
    }
}

#[derive(Debug)]
struct Leases {
    /// By how much a change of leader may prolong a lease.
    interval: Duration,
    held: HashMap<i64, Held>,
    /// On the leader: leases by deadline.
    queue: BTreeSet<(Instant, i64)>,
    /// On the leader: long leases by the time when their rest is to be noted.
    checkpoints: BTreeSet<(Instant, i64)>,
    leading: bool,
    /// The term it leads in.
    term: u64,
}

/// What is left of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) left: Duration,
    pub(crate) granted_seconds: i64,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed(Left),
    /// There is no such lease, or it is going.
    Unknown,
    /// The note of its rest must be taken back first.
    Noted,
}

/// The leases and, on the leader, their deadlines.
#[derive(Debug)]
pub(crate) struct Lessor(Mutex<Leases>);

impl Lessor {
    /// What the state holds, with the interval at which the rest of a long lease is noted.
    pub(crate) fn new(leases: Vec<(i64, Lease)>, interval: Duration) -> Self {
        let lessor = Self(Mutex::new(Leases {
            interval,
            held: HashMap::new(),
            queue: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            leading: false,
            term: 0,
        }));
        lessor.reset(leases);
        lessor
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts anew with what the state holds.
    pub(crate) fn reset(&self, leases: Vec<(i64, Lease)>) {
        let mut all = self.lock();
        all.queue.clear();
        all.checkpoints.clear();
        all.held = leases.iter().map(|(id, lease)| (*id, Held::of(lease))).collect();
        if all.leading {
            all.promote(Instant::now());
        }
    }

    /// This member leads now, and has applied all that was committed before: every lease gets the rest that is noted,
    /// or its whole TTL.
    pub(crate) fn promote(&self, term: u64, now: Instant) {
        let mut all = self.lock();
        (all.leading, all.term) = (true, term);
        all.promote(now);
    }

    /// This member leads no more.
    pub(crate) fn demote(&self) {
        let mut all = self.lock();
        all.leading = false;
        all.queue.clear();
        all.checkpoints.clear();
        for held in all.held.values_mut() {
            (held.deadline, held.checkpoint, held.expiring) = (None, None, false);
        }
    }

    /// Whether this member leads and knows what is left.
    pub(crate) fn leads(&self) -> bool {
        self.lock().leading
    }

    /// A grant was applied.
    pub(crate) fn granted(&self, id: i64, lease: Lease) {
        let mut all = self.lock();
        all.held.insert(id, Held::of(&lease));
        if all.leading {
            all.extend(id, ttl(lease.ttl_seconds), Instant::now());
        }
    }

    /// A note of rests, or that they are no more, was applied.
    pub(crate) fn checkpointed(&self, leases: &[(i64, Lease)]) {
        let mut all = self.lock();
        for (id, lease) in leases {
            if let Some(held) = all.held.get_mut(id) {
                let noted = Held::of(lease);
                (held.rest, held.noted) = (noted.rest, noted.noted);
            }
        }
    }

    /// A revocation was applied.
    pub(crate) fn revoked(&self, id: i64) {
        let mut all = self.lock();
        let Some(held) = all.held.remove(&id) else { return };
        if let Some(deadline) = held.deadline {
            all.queue.remove(&(deadline, id));
        }
        if let Some(checkpoint) = held.checkpoint {
            all.checkpoints.remove(&(checkpoint, id));
        }
    }

    /// Renews leases, on the leader. None: it does not lead.
    pub(crate) fn renew(&self, ids: &[i64], now: Instant) -> Option<Vec<Renewal>> {
        let mut all = self.lock();
        if !all.leading {
            return None;
        }
        let renewals = ids.iter().map(|id| match all.held.get(id).copied() {
            None => Renewal::Unknown,
            Some(held) if held.expiring => Renewal::Unknown,
            Some(held) if held.noted => Renewal::Noted,
            Some(Held { ttl_seconds, .. }) => {
                all.extend(*id, ttl(ttl_seconds), now);
                Renewal::Renewed(Left { left: ttl(ttl_seconds), granted_seconds: ttl_seconds })
            }
        });
        Some(renewals.collect())
    }

    /// What is left of a lease, on the leader.
    pub(crate) fn left(&self, id: i64, now: Instant) -> Option<Left> {
        let all = self.lock();
        let held = all.held.get(&id)?;
        let left = held
            .deadline
            .map_or(ttl(held.ttl_seconds), |deadline| deadline.saturating_duration_since(now));
        Some(Left { left, granted_seconds: held.ttl_seconds })
    }

    /// On the leader: when each lease runs out.
    pub(crate) fn deadlines(&self) -> HashMap<i64, Instant> {
        self.lock().queue.iter().map(|(deadline, id)| (*id, *deadline)).collect()
    }

    /// The term, and up to `max` leases that have run out in it, with the time since, marked as going; [`Self::retry`]
    /// takes the mark back.
    pub(crate) fn expired(&self, now: Instant, max: usize) -> (u64, Vec<(i64, Duration)>) {
        let mut all = self.lock();
        if !all.leading {
            return (0, Vec::new());
        }
        let due: Vec<_> = all
            .queue
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .take(max)
            .copied()
            .collect();
        for entry in &due {
            all.queue.remove(entry);
            if let Some(held) = all.held.get_mut(&entry.1) {
                held.expiring = true;
            }
        }
        let due = due.into_iter().map(|(deadline, id)| (id, now - deadline)).collect();
        (all.term, due)
    }

    /// A revocation did not go through: the lease is due again at once.
    pub(crate) fn retry(&self, id: i64, now: Instant) {
        let mut all = self.lock();
        if all.leading
            && let Some(held) = all.held.get_mut(&id)
        {
            held.expiring = false;
            held.deadline = Some(now);
            all.queue.insert((now, id));
        }
    }

    /// The term, and the rests to be noted now. From here on none of these leases is renewed before its note is taken
    /// back, whether the note comes into the log or not.
    pub(crate) fn to_note(&self, now: Instant) -> (u64, Vec<LeaseRest>) {
        let mut all = self.lock();
        let due: Vec<_> = all
            .checkpoints
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(CHECKPOINTS_MAX)
            .copied()
            .collect();
        let mut rests = Vec::new();
        for (at, id) in due {
            all.checkpoints.remove(&(at, id));
            let next = now + all.interval;
            let Some(held) = all.held.get_mut(&id) else { continue };
            held.checkpoint = None;
            let Some(left) = held.deadline.map(|deadline| deadline.saturating_duration_since(now))
            else {
                continue;
            };
            if held.expiring || left.is_zero() {
                continue;
            }
            (held.noted, held.checkpoint) = (true, Some(next));
            all.checkpoints.insert((next, id));
            // Rounded up: never early. 0 would mean that nothing is noted.
            let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
            rests.push(LeaseRest { id, left_ms });
        }
        (all.term, rests)
    }

    /// The term, and those of the leases whose notes are to be taken back.
    pub(crate) fn to_take_back(&self, ids: &[i64]) -> (u64, Vec<LeaseRest>) {
        let all = self.lock();
        let noted = |id: &&i64| all.held.get(id).is_some_and(|held| held.noted);
        (all.term, ids.iter().filter(noted).map(|id| LeaseRest { id: *id, left_ms: 0 }).collect())
    }

    /// Leases that exist, and those that have run out but are not revoked yet.
    pub(crate) fn count(&self, now: Instant) -> (usize, usize) {
        let all = self.lock();
        (all.held.len(), all.queue.range(..(now, i64::MIN)).count())
    }
}

impl Leases {
    fn promote(&mut self, now: Instant) {
        let ids: Vec<(i64, Duration)> = self
            .held
            .iter()
            .map(|(id, held)| (*id, held.rest.unwrap_or_else(|| ttl(held.ttl_seconds))))
            .collect();
        ids.into_iter().for_each(|(id, left)| self.extend(id, left, now));
    }

    fn extend(&mut self, id: i64, left: Duration, now: Instant) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if let Some(before) = held.deadline {
            self.queue.remove(&(before, id));
        }
        if let Some(before) = held.checkpoint.take() {
            self.checkpoints.remove(&(before, id));
        }
        let deadline = now + left;
        (held.deadline, held.expiring) = (Some(deadline), false);
        self.queue.insert((deadline, id));
        if left > self.interval {
            let at = now + self.interval;
            held.checkpoint = Some(at);
            self.checkpoints.insert((at, id));
        }
    }
}

fn ttl(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests;
