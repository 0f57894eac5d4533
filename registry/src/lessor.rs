//! How much of each lease is left: the leader's memory, never in the log. A member that is not the leader only
//! knows which leases there are.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::schema::Lease;

/// Leases revoked in one round of expiry.
pub(crate) const EXPIRE_MAX: usize = 500;

#[derive(Debug, Clone, Copy)]
struct Held {
    ttl_seconds: i64,
    /// On the leader: when it runs out.
    deadline: Option<Instant>,
    /// Its revocation is on the way.
    expiring: bool,
}

#[derive(Debug, Default)]
struct Leases {
    held: HashMap<i64, Held>,
    /// On the leader: leases by deadline.
    queue: BTreeSet<(Instant, i64)>,
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

/// The leases and, on the leader, their deadlines.
#[derive(Debug, Default)]
pub(crate) struct Lessor(Mutex<Leases>);

impl Lessor {
    pub(crate) fn new(leases: Vec<(i64, Lease)>) -> Self {
        let lessor = Self::default();
        lessor.reset(leases);
        lessor
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts anew with what the state holds.
    pub(crate) fn reset(&self, leases: Vec<(i64, Lease)>) {
        let mut all = self.lock();
        all.held.clear();
        all.queue.clear();
        for (id, lease) in leases {
            all.held.insert(
                id,
                Held { ttl_seconds: lease.ttl_seconds, deadline: None, expiring: false },
            );
        }
        if all.leading {
            all.promote(Instant::now());
        }
    }

    /// This member leads now: every lease gets its whole TTL, so that none runs out early.
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
        all.held.values_mut().for_each(|held| (held.deadline, held.expiring) = (None, false));
    }

    /// A grant was applied.
    pub(crate) fn granted(&self, id: i64, lease: Lease) {
        let mut all = self.lock();
        let ttl_seconds = lease.ttl_seconds;
        all.held.insert(id, Held { ttl_seconds, deadline: None, expiring: false });
        if all.leading {
            all.extend(id, Instant::now());
        }
    }

    /// A revocation was applied.
    pub(crate) fn revoked(&self, id: i64) {
        let mut all = self.lock();
        if let Some(Held { deadline: Some(deadline), .. }) = all.held.remove(&id) {
            all.queue.remove(&(deadline, id));
        }
    }

    /// Renews a lease, on the leader; none when it is gone or going.
    pub(crate) fn renew(&self, id: i64, now: Instant) -> Option<Left> {
        let mut all = self.lock();
        let held = *all.held.get(&id).filter(|held| !held.expiring)?;
        // Just elected and not told yet: the promotion, which comes later, gives it its whole TTL anyway.
        if all.leading {
            all.extend(id, now);
        }
        Some(Left { left: ttl(held.ttl_seconds), granted_seconds: held.ttl_seconds })
    }

    /// What is left of a lease.
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

    /// The term, and leases that have run out in it, marked as going; [`Self::retry`] takes the mark back.
    pub(crate) fn expired(&self, now: Instant) -> (u64, Vec<i64>) {
        let mut all = self.lock();
        if !all.leading {
            return (0, Vec::new());
        }
        let due: Vec<_> = all
            .queue
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .take(EXPIRE_MAX)
            .copied()
            .collect();
        for entry in &due {
            all.queue.remove(entry);
            if let Some(held) = all.held.get_mut(&entry.1) {
                held.expiring = true;
            }
        }
        (all.term, due.into_iter().map(|(_, id)| id).collect())
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

    pub(crate) fn len(&self) -> usize {
        self.lock().held.len()
    }
}

impl Leases {
    fn promote(&mut self, now: Instant) {
        let ids: Vec<i64> = self.held.keys().copied().collect();
        ids.into_iter().for_each(|id| self.extend(id, now));
    }

    fn extend(&mut self, id: i64, now: Instant) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if let Some(before) = held.deadline {
            self.queue.remove(&(before, id));
        }
        let deadline = now + ttl(held.ttl_seconds);
        (held.deadline, held.expiring) = (Some(deadline), false);
        self.queue.insert((deadline, id));
    }
}

fn ttl(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_out_only_on_the_leader_and_only_after_its_whole_ttl() {
        let lease = Lease { ttl_seconds: 10, granted_ms: 0 };
        let lessor = Lessor::new(vec![(7, lease)]);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(lessor.expired(at(100)).1.is_empty(), "a follower expires nothing");
        lessor.promote(1, at(0));
        assert!(lessor.expired(at(9)).1.is_empty());
        assert!(lessor.renew(7, at(9)).is_some());
        assert!(lessor.expired(at(18)).1.is_empty());
        assert_eq!(lessor.left(7, at(18)).map(|l| l.left), Some(Duration::from_secs(1)));
        assert_eq!(lessor.deadlines(), HashMap::from([(7, at(19))]));
        assert_eq!(lessor.expired(at(19)), (1, vec![7]));
        assert!(lessor.renew(7, at(19)).is_none(), "it is going");
        assert!(lessor.expired(at(30)).1.is_empty(), "once only");
        lessor.retry(7, at(30));
        assert_eq!(lessor.expired(at(30)), (1, vec![7]));
        lessor.demote();
        lessor.promote(2, at(40));
        assert!(lessor.expired(at(49)).1.is_empty(), "a new leader grants the whole TTL");
        lessor.revoked(7);
        assert!(lessor.expired(at(1000)).1.is_empty());
    }
}
