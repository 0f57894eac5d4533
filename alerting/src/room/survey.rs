//! What all instances together make of one: the panic of its service, maintenance windows, what it depends on.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use watchkeep_catalog::{Incident, Instance, Silence, SilenceReason, Status, Time};

use super::Room;
use crate::{
    decide::{Hold, Quiet},
    dependency::Parent,
    fleet::{self, Limit, Seems},
    mirror::{Target, Versioned},
    panic,
    verdict::{Jury, Tally, tally},
};

/// Instances of a service that are asked how long they take to be found critical.
const ASKED_MAX: usize = 100;

/// What something depends on is like.
enum Parental<'a> {
    Down(Option<&'a Versioned<Incident>>, Option<String>),
    /// Up, and since when.
    Up(Option<Time>),
}

impl Room {
    pub(super) fn jury(&self, service: &str) -> Jury {
        self.context.rules.jury(self.mirror.services.get(service), self.mirror.collectors.len())
    }

    pub(super) fn limit(&self, service: &str) -> Limit {
        self.context.rules.panic_limit(self.mirror.services.get(service))
    }

    /// Counts in how these instances seem to be; answers with the services that they belong to.
    pub(super) fn survey(&mut self, targets: BTreeSet<Target>, now: Time) -> BTreeSet<String> {
        let mut services = BTreeSet::new();
        for target in targets {
            let (seems, since) = self.seems(&target, now);
            self.fleet.set(&target.service, &target.instance, seems, since, now);
            services.insert(target.service);
        }
        services
    }

    fn seems(&self, target: &Target, now: Time) -> (Seems, Option<Time>) {
        let Some(instance) = self.mirror.instances.get(target).map(|i| &i.record) else {
            return (Seems::Nothing, None);
        };
        if instance.checks.is_empty() {
            return (Seems::Nothing, None);
        }
        let verdict = self.mirror.verdicts.get(target).map(|verdict| &verdict.record);
        let tally = tally(instance, &self.mirror.heard(target), self.jury(&target.service));
        let critical = verdict.filter(|verdict| verdict.status == Status::Critical);
        match &tally {
            Some(tally) if tally.status == Status::Critical => {
                let quiet = self.quiet(target, instance, tally, now).0;
                let otherwise = quiet.is_some_and(|q| q.silence.reason != SilenceReason::Waiting);
                let seems = if otherwise { Seems::Nothing } else { Seems::Critical };
                (seems, critical.map(|verdict| verdict.since))
            }
            // Nothing new is known: it is what it was.
            None => match critical {
                Some(verdict) if verdict.silenced.is_some() => (Seems::Nothing, None),
                Some(verdict) => (Seems::Critical, Some(verdict.since)),
                None => (Seems::Well, None),
            },
            Some(_) => (Seems::Well, None),
        }
    }

    /// Why nobody is to be told of this instance if it is critical; and when that is to be asked again.
    pub(super) fn quiet(
        &self,
        target: &Target,
        instance: &Instance,
        tally: &Tally,
        now: Time,
    ) -> (Option<Quiet<'_>>, Option<Time>) {
        let silence = |reason, by: String, incident| Silence { reason, by, incident };
        if let Some(window) = self.open.covering(instance, &tally.critical) {
            let silence = silence(SilenceReason::Maintenance, window.to_owned(), None);
            return (Some(Quiet { silence, instead: None }), None);
        }
        let mut waits: Option<(String, Time)> = None;
        for parent in self.mirror.dependencies.parents(&target.service) {
            let by = parent.to_string();
            match self.parental(parent) {
                Parental::Down(instead, incident) => {
                    let silence = silence(SilenceReason::Dependency, by, incident);
                    return (Some(Quiet { silence, instead }), None);
                }
                Parental::Up(up_since) => {
                    let verdict = self.mirror.verdicts.get(target).map(|v| &v.record);
                    let critical = verdict.filter(|v| v.status == Status::Critical);
                    let since = critical.map_or_else(
                        || tally.since.clamp(now - TimeDelta::seconds(1), now),
                        |verdict| verdict.since,
                    );
                    let known = since + self.detection(parent);
                    let recovered = up_since.map(|since| since + fleet::recovery(instance));
                    let until = recovered.map_or(known, |recovered| recovered.max(known));
                    if until > now && waits.as_ref().is_none_or(|(_, other)| until > *other) {
                        waits = Some((by, until));
                    }
                }
            }
        }
        match waits {
            Some((by, until)) => {
                let silence = silence(SilenceReason::Waiting, by, None);
                (Some(Quiet { silence, instead: None }), Some(until))
            }
            None => (None, None),
        }
    }

    /// How a parent is: down when one that is critical is all there is of it, or when it is in panic.
    fn parental(&self, parent: &Parent) -> Parental<'_> {
        let incident = |id: &str| self.mirror.incidents.get(id);
        if let Some(panic) = self.mirror.panics.get(&parent.service)
            && parent.instance.is_none()
        {
            let id = &panic.record.incident;
            return Parental::Down(incident(id), Some(id.clone()));
        }
        let mut down = None;
        let mut up_since: Option<Time> = None;
        for target in self.parts(parent) {
            match self.mirror.verdicts.get(&target).map(|verdict| &verdict.record) {
                Some(verdict) if verdict.status == Status::Passing => {
                    up_since = Some(up_since.map_or(verdict.since, |s| s.min(verdict.since)));
                }
                Some(verdict) => {
                    let own = self.mirror.open_incident(&target);
                    let through = verdict.silenced.as_ref().and_then(|s| s.incident.as_deref());
                    let told = own.or(through.and_then(incident));
                    if down.is_none() || told.is_some() {
                        down = Some(told);
                    }
                }
                // Its registration ran out while it was critical.
                None if parent.instance.is_some() => {
                    down = self.mirror.open_incident(&target).map(Some).or(down);
                }
                None => {}
            }
        }
        match (down, up_since) {
            (Some(told), None) => {
                Parental::Down(told, told.map(|incident| incident.record.id.clone()))
            }
            _ => Parental::Up(up_since),
        }
    }

    fn parts(&self, parent: &Parent) -> Vec<Target> {
        match &parent.instance {
            Some(instance) => vec![Target::new(&parent.service, instance)],
            None => self.mirror.members(&parent.service).collect(),
        }
    }

    /// How long it takes to find a parent critical, at most.
    fn detection(&self, parent: &Parent) -> TimeDelta {
        let parts = self.parts(parent);
        let asked = parts.iter().take(ASKED_MAX).filter_map(|t| self.mirror.instances.get(t));
        asked.map(|part| fleet::detection(&part.record)).max().unwrap_or_default()
    }

    /// Whether an instance that is critical is believed to be; and when that is to be asked again.
    pub(super) fn hold(
        &self,
        target: &Target,
        instance: &Instance,
        quiet: Option<&Quiet<'_>>,
        now: Time,
    ) -> (Hold<'_>, Option<Time>) {
        if quiet.is_some_and(|quiet| quiet.silence.reason != SilenceReason::Waiting) {
            return (Hold::Free, None);
        }
        if let Some(panic) = self.mirror.panics.get(&target.service) {
            return (Hold::Panic(&panic.record), None);
        }
        let limit = self.limit(&target.service);
        if self.fleet.share(&target.service).exceeds(limit) {
            return (Hold::Later, self.panics_at(&target.service, now));
        }
        let settle = fleet::settle(instance);
        let waits = self.fleet.waits_until(&target.service, &target.instance, settle, limit);
        match waits.filter(|until| *until > now) {
            Some(until) => (Hold::Later, Some(until)),
            None => (Hold::Free, None),
        }
    }

    /// When a service may panic at the earliest, if not now: what it depends on may be the reason.
    fn panics_at(&self, service: &str, now: Time) -> Option<Time> {
        let parents = self.mirror.dependencies.parents(service);
        let longest = parents.iter().map(|parent| self.detection(parent)).max()?;
        let at = self.fleet.first(service)? + longest;
        (at > now).then_some(at)
    }

    /// Whether a service begins or ends to panic.
    pub(super) fn panic(&self, service: &str, now: Time) -> Option<panic::Decision> {
        let known = self.mirror.panics.get(service);
        if known.is_none() && self.panics_at(service, now).is_some() {
            return None;
        }
        let incident = known.and_then(|panic| self.mirror.incidents.get(&panic.record.incident));
        let view = panic::View {
            service,
            share: self.fleet.share(service),
            limit: self.limit(service),
            since: self.fleet.first(service),
            panic: known,
            incident,
        };
        panic::decide(&view, &self.rules, now)
    }
}
