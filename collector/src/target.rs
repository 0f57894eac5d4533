//! What is probed: one check of one instance, and how it is labelled.

use std::{sync::Arc, time::Duration};

use watchkeep_catalog::{Check, Instance, keys};
use watchkeep_series::{Labels, METRIC_NAME};

use crate::{
    probe::Fact,
    schedule::{self, Schedule},
};

/// Names a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TargetId {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) check: String,
}

impl TargetId {
    /// Key of `collector`'s opinion on it.
    pub(crate) fn opinion_key(&self, collector: &str) -> String {
        keys::opinion(&self.service, &self.instance, &self.check, collector)
    }

    /// Labels of its samples.
    pub(crate) fn labels(&self, metric: &str, collector: &str) -> Labels {
        Labels::new([
            (METRIC_NAME, metric),
            ("service", &self.service),
            ("instance", &self.instance),
            ("check", &self.check),
            ("collector", collector),
        ])
    }

    /// Labels of a fact's samples; the target's own win over the fact's.
    pub(crate) fn fact_labels(&self, fact: &Fact, collector: &str) -> Labels {
        let own = [
            (METRIC_NAME, &*fact.name),
            ("service", &self.service),
            ("instance", &self.instance),
            ("check", &self.check),
            ("collector", collector),
        ];
        let more = fact.labels.iter().map(|(name, value)| (&**name, value.as_str()));
        Labels::new(more.chain(own))
    }
}

/// A check and all of its instance that a probe needs: when none of this differs, nothing has changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) address: String,
    /// The instance's own; the check may name another.
    pub(crate) port: u16,
    pub(crate) check: Check,
}

impl Target {
    /// The targets of an instance.
    pub(crate) fn of(instance: &Instance) -> impl Iterator<Item = Arc<Self>> {
        instance.checks.iter().map(|check| {
            Arc::new(Self {
                id: TargetId {
                    service: instance.service.clone(),
                    instance: instance.id.clone(),
                    check: check.name.clone(),
                },
                address: instance.address.clone(),
                port: instance.port,
                check: check.clone(),
            })
        })
    }

    /// When `collector` probes it.
    pub(crate) fn schedule(&self, collector: &str) -> Schedule {
        let TargetId { service, instance, check } = &self.id;
        let hash = schedule::hash([&**service, instance, check, collector]);
        Schedule::new(Duration::from_millis(self.check.interval_ms), hash)
    }
}
