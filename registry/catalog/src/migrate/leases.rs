//! Leases: granted on the target with the same id, kept alive there for as long as they live on the source, and
//! revoked when they do not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    MigrateError,
    batch::{Batch, Write},
    source, target,
};
use crate::Client;

/// How often it is looked which leases are due.
const INTERVAL: Duration = Duration::from_millis(250);
/// Leases looked after at once.
const CALLS_MAX: usize = 32;

#[derive(Debug, Default)]
struct Known {
    /// When each is due again, and its TTL in seconds.
    due: HashMap<i64, (Instant, i64)>,
    /// Whether one ran out on the target while it lived on the source: its keys are missing then.
    lost: bool,
}

/// The leases of both sides.
#[derive(Clone)]
pub(super) struct Leases {
    from: Client,
    to: Client,
    known: Arc<Mutex<Known>>,
}

impl Leases {
    pub(super) fn new(from: &Client, to: &Client) -> Self {
        Self { from: from.clone(), to: to.clone(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants every lease of the source, keys or none.
    pub(super) async fn carry_all(&self) -> Result<(), MigrateError> {
        let ids = self.from.raw_leases().await.map_err(source)?;
        let mut carrying = stream::iter(ids).map(|id| self.carry(id)).buffer_unordered(CALLS_MAX);
        while let Some(carried) = carrying.next().await {
            carried?;
        }
        Ok(())
    }

    /// Makes sure of the leases of a batch. A key whose lease is gone on the source will soon be too.
    pub(super) async fn prepare(&self, batch: &mut Batch) -> Result<(), MigrateError> {
        for write in batch.values_mut() {
            if let Write::Put(_, lease) = write
                && *lease != 0
                && !self.carry(*lease).await?
            {
                *lease = 0;
            }
        }
        Ok(())
    }

    /// Forgets that the leases of a batch were granted.
    pub(super) fn forget(&self, batch: &Batch) {
        for write in batch.values() {
            if let Write::Put(_, lease) = write {
                self.known().due.remove(lease);
            }
        }
    }

    /// Whether a lease ran out on the target too early, since this was asked last.
    pub(super) fn take_lost(&self) -> bool {
        std::mem::take(&mut self.known().lost)
    }

    /// Grants a lease on the target; false when the source has it no more.
    async fn carry(&self, id: i64) -> Result<bool, MigrateError> {
        if self.known().due.contains_key(&id) {
            return Ok(true);
        }
        let Some((_, ttl)) = self.from.raw_time_to_live(id).await.map_err(source)? else {
            return Ok(false);
        };
        self.to.raw_grant(id, ttl).await.map_err(target)?;
        self.known().due.insert(id, (next(ttl), ttl));
        Ok(true)
    }

    /// Looks after the leases until a side fails.
    pub(super) async fn tend(&self) -> MigrateError {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            let due: Vec<(i64, i64)> = {
                let known = self.known();
                let due = known.due.iter().filter(|(_, (at, _))| *at <= now);
                due.map(|(id, (_, ttl))| (*id, *ttl)).collect()
            };
            let mut tending = stream::iter(due)
                .map(|(id, ttl)| self.tend_one(id, ttl))
                .buffer_unordered(CALLS_MAX);
            while let Some(tended) = tending.next().await {
                if let Err(error) = tended {
                    return error;
                }
            }
        }
    }

    async fn tend_one(&self, id: i64, ttl: i64) -> Result<(), MigrateError> {
        if self.from.raw_time_to_live(id).await.map_err(source)?.is_none() {
            self.known().due.remove(&id);
            return self.to.revoke(id).await.map_err(target);
        }
        if self.to.keep_alive(id).await.map_err(target)? > 0 {
            self.known().due.insert(id, (next(ttl), ttl));
        } else {
            let mut known = self.known();
            known.due.remove(&id);
            known.lost = true;
        }
        Ok(())
    }
}

/// When a lease is to be looked after again: after a third of its TTL.
fn next(ttl: i64) -> Instant {
    let third = f64::from(u32::try_from(ttl).unwrap_or(u32::MAX)) / 3.0;
    Instant::now() + Duration::from_secs_f64(third)
}
