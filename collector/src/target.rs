//! What is probed: one check of one instance, and how it is labelled.

use std::{ops::Deref, sync::Arc, time::Duration};

use watchkeep_catalog::{Check, Instance, keys};
use watchkeep_series::{Labels, METRIC_NAME};

use crate::schedule::{self, Schedule};

/// Names a target. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TargetId(Arc<Names>);

/// What a target's name is made of.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Names {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) check: String,
}

impl Deref for TargetId {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.0
    }
}

impl TargetId {
    pub(crate) fn new(service: &str, instance: &str, check: &str) -> Self {
        let (service, instance, check) =
            (service.to_owned(), instance.to_owned(), check.to_owned());
        Self(Arc::new(Names { service, instance, check }))
    }

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
}

/// A check and all of its instance that a probe needs: when none of this differs, nothing has changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) address: String,
    /// The instance's own; the check may name another.
    pub(crate) port: u16,
    pub(crate) check: Arc<Check>,
}

impl Target {
    /// The targets of an instance.
    pub(crate) fn of(instance: &Instance) -> impl Iterator<Item = Arc<Self>> {
        instance.checks.iter().map(|check| {
            Arc::new(Self {
                id: TargetId::new(&instance.service, &instance.id, &check.name),
                address: instance.address.clone(),
                port: instance.port,
                check: check.clone(),
            })
        })
    }

    /// When `collector` probes it.
    pub(crate) fn schedule(&self, collector: &str) -> Schedule {
        let Names { service, instance, check } = &*self.id;
        let hash = schedule::hash([&**service, instance, check, collector]);
        Schedule::new(Duration::from_millis(self.check.interval_ms), hash)
    }
}
