//! What is asked of the mirror that no single record answers.

use std::collections::BTreeSet;

use watchkeep_catalog::{Incident, Status};

use super::{Mirror, Target, Versioned};
use crate::{dispute, verdict::Heard};

impl Mirror {
    /// The opinions on an instance.
    pub(crate) fn heard(&self, target: &Target) -> Vec<Heard<'_>> {
        let opinions = self.opinions.get(target).into_iter().flatten();
        opinions.map(|((check, _), opinion)| (check.as_str(), opinion)).collect()
    }

    /// How many collectors find an instance critical.
    pub(crate) fn critical_collectors(&self, target: &Target) -> usize {
        let opinions = self.opinions.get(target).into_iter().flatten();
        let critical = opinions.filter(|(_, opinion)| opinion.status == Status::Critical);
        critical.map(|((_, collector), _)| collector).collect::<BTreeSet<_>>().len()
    }

    /// The collectors that are outvoted on an instance.
    pub(crate) fn outvoted(&self, target: &Target) -> Vec<String> {
        let Some(instance) = self.instances.get(target) else { return Vec::new() };
        let known = |check: &str| instance.record.checks.iter().any(|c| c.name == check);
        let opinions = self.opinions.get(target).into_iter().flatten();
        let voices: Vec<dispute::Voice<'_>> = opinions
            .filter(|((check, _), _)| known(check))
            .map(|((check, collector), opinion)| {
                (check.as_str(), collector.as_str(), opinion.status)
            })
            .collect();
        dispute::outvoted(&voices)
    }

    /// The instances of a service.
    pub(crate) fn members(&self, service: &str) -> impl Iterator<Item = Target> {
        let members = self.members.get(service).into_iter().flatten();
        members.map(|instance| Target::new(service, instance))
    }

    /// The open incident about an instance, if there is one.
    pub(crate) fn open_incident(&self, target: &Target) -> Option<&Versioned<Incident>> {
        self.open.get(target)?.first().and_then(|id| self.incidents.get(id))
    }

    /// Everything there is to decide on.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let known = self.instances.keys().chain(self.verdicts.keys()).chain(self.open.keys());
        known.cloned().collect()
    }
}
