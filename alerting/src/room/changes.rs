//! Changes in the loop: what is to be looked at again because of them.

use std::collections::BTreeSet;

use tokio::time::Instant;
use watchkeep_catalog::{
    Status,
    client::{Change, Changes},
};

use super::{Room, gauges};
use crate::{clock, mirror::Target};

/// Changes that are taken in before anything is decided on them.
const BATCH_MAX: usize = 256;

impl Room {
    /// Takes in a change and what waits behind it.
    pub(super) fn absorb(&mut self, first: Change, more: &mut Changes) {
        let now = Instant::now();
        let mut touched = self.mirror.apply(first);
        for _ in 1..BATCH_MAX {
            let Some(change) = more.try_recv() else { break };
            touched.merge(self.mirror.apply(change));
        }
        self.dispute(&touched.targets);
        if touched.duty {
            self.rules.changes = self.mirror.changes.clone();
            self.context.alone.learn(&self.rules.changes);
        }
        if self.term.is_some() {
            if touched.all {
                self.open = self.mirror.windows.open(clock::now());
                touched.targets.extend(self.mirror.targets());
            }
            for service in &touched.panics {
                touched.targets.extend(self.mirror.members(service));
            }
            // What depends on it is silenced by its fault, and speaks when it is over.
            let services: BTreeSet<&str> =
                touched.targets.iter().map(|target| target.service.as_str()).collect();
            let children: Vec<Target> = services
                .into_iter()
                .flat_map(|service| self.mirror.dependencies.children(service))
                .flat_map(|child| self.mirror.members(child))
                .filter(|child| self.is_critical(child))
                .collect();
            touched.targets.extend(children);
            self.soil(touched.targets, now);
        }
        if touched.records || !touched.panics.is_empty() {
            self.count();
        }
    }

    /// These are to be decided on.
    pub(super) fn soil(&mut self, targets: impl IntoIterator<Item = Target>, since: Instant) {
        for target in targets {
            self.unsurveyed.insert(target.clone());
            self.dirty.entry(target).or_insert(since);
        }
    }

    fn is_critical(&self, target: &Target) -> bool {
        let verdict = self.mirror.verdicts.get(target);
        verdict.is_some_and(|verdict| verdict.record.status == Status::Critical)
    }

    /// Notes where collectors contradict each other, on whatever node this is.
    fn dispute(&mut self, targets: &BTreeSet<Target>) {
        let mut changed = false;
        for target in targets {
            changed |= self.disputes.set(target, self.mirror.outvoted(target));
        }
        if changed {
            gauges::disputes(&self.context.metrics, &self.disputes);
        }
    }
}
