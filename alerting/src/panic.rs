//! A service in panic: so much of it seems critical at once that none of it is believed. Pure.
//!
//! What begins and ends is one key and one incident, written together. While the key is there no instance of the service
//! becomes critical, nothing is failed over, and one page says so.

use sha2::{Digest, Sha256};
use watchkeep_catalog::{Incident, IncidentStatus, Panic, Time};

use crate::{
    decide::resolved,
    fleet::{Limit, Share},
    incident::{self, WATCHKEEP},
    mirror::Versioned,
    rules::Rules,
};

/// The alert of a service in panic; it has a runbook of this name.
pub(crate) const SERVICE_PANIC: &str = "ServicePanic";

/// What is known of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) service: &'a str,
    pub(crate) share: Share,
    pub(crate) limit: Limit,
    /// Since when the first of its instances seems critical.
    pub(crate) since: Option<Time>,
    pub(crate) panic: Option<&'a Versioned<Panic>>,
    /// The panic's incident.
    pub(crate) incident: Option<&'a Versioned<Incident>>,
}

/// What is to be written, at once and only if nothing of it has changed meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) service: String,
    /// The panic from now on; none: it is over.
    pub(crate) panic: Option<Panic>,
    /// Its key's revision the decision is made on; 0: there was none.
    pub(crate) revision: i64,
    pub(crate) incident: Option<Incident>,
    pub(crate) incident_revision: i64,
}

/// Decides; none when everything is as it should be.
pub(crate) fn decide(view: &View<'_>, rules: &Rules, now: Time) -> Option<Decision> {
    match (view.panic, view.share.exceeds(view.limit)) {
        (None, true) => Some(begin(view, rules, now)),
        (Some(panic), false) => Some(end(view, panic, now)),
        _ => None,
    }
}

fn begin(view: &View<'_>, rules: &Rules, now: Time) -> Decision {
    let Share { critical, instances } = view.share;
    let (service, percent) = (view.service, view.limit.percent);
    let started_at = view.since.unwrap_or(now);
    let text = format!("{SERVICE_PANIC}/{service}/{}", now.timestamp_micros());
    let digest = hex::encode(&Sha256::digest(text.as_bytes())[..4]);
    let id = format!("{}-{digest}", started_at.format("%Y%m%d-%H%M%S"));
    let title =
        format!("{service} is in panic: {critical} of {instances} instances seem critical at once");
    let mut incident = Incident::new(id.clone(), title, SERVICE_PANIC, "critical", started_at, now);
    let labels = [("alertname", SERVICE_PANIC), ("severity", "critical"), ("service", service)];
    incident.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut note = |at, text: String| incident::note(&mut incident, at, WATCHKEEP, text);
    note(started_at, "the first instance seems critical".to_owned());
    note(
        now,
        format!(
            "critical are {critical} of {instances} instances, it seems: more than {percent} % at once, so the last good \
             set is kept and nothing is failed over"
        ),
    );
    incident::tell(&mut incident, rules, None, now);
    let panic = Panic {
        service: service.to_owned(),
        since: now,
        critical,
        instances,
        threshold_percent: percent,
        incident: id,
    };
    Decision {
        service: service.to_owned(),
        panic: Some(panic),
        revision: 0,
        incident: Some(incident),
        incident_revision: 0,
    }
}

fn end(view: &View<'_>, panic: &Versioned<Panic>, now: Time) -> Decision {
    let Share { critical, instances } = view.share;
    let open = view.incident.filter(|i| i.record.status != IncidentStatus::Resolved);
    let text = format!("the panic is over: {critical} of {instances} instances seem critical");
    Decision {
        service: view.service.to_owned(),
        panic: None,
        revision: panic.mod_revision,
        incident: open.map(|open| resolved(&open.record, &text, now)),
        incident_revision: open.map_or(0, |open| open.mod_revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{rules, time};

    #[test]
    fn it_begins_and_ends_with_one_page_each() {
        let share = |critical| Share { critical, instances: 10 };
        let limit = Limit { percent: 40, instances_min: 5 };
        let calm = View {
            service: "web",
            share: share(4),
            limit,
            since: Some(time(1)),
            panic: None,
            incident: None,
        };
        assert_eq!(decide(&calm, &rules(), time(2)), None);
        let begun = decide(&View { share: share(5), ..calm }, &rules(), time(2)).unwrap();
        let (panic, incident) = (begun.panic.unwrap(), begun.incident.unwrap());
        assert_eq!((panic.critical, panic.instances, &panic.incident), (5, 10, &incident.id));
        assert_eq!(incident.title, "web is in panic: 5 of 10 instances seem critical at once");
        assert_eq!((incident.pages.len(), incident.started_at), (3, time(1)));
        assert_eq!((begun.revision, begun.incident_revision), (0, 0));

        fn at<T>(record: T) -> Versioned<T> {
            Versioned { record, create_revision: 7, mod_revision: 7 }
        }
        let (panic, incident) = (at(panic), at(incident));
        let on = View { panic: Some(&panic), incident: Some(&incident), ..calm };
        assert_eq!(decide(&View { share: share(5), ..on }, &rules(), time(3)), None);
        let ended = decide(&on, &rules(), time(4)).unwrap();
        assert_eq!((ended.panic, ended.revision, ended.incident_revision), (None, 7, 7));
        let resolved = ended.incident.unwrap();
        assert_eq!(resolved.status, IncidentStatus::Resolved);
        assert_eq!(resolved.pages.len(), 6);
        // A person has resolved it meanwhile: only the key goes.
        let ended =
            decide(&View { incident: Some(&at(resolved)), ..on }, &rules(), time(5)).unwrap();
        assert_eq!((ended.panic, ended.incident), (None, None));
    }
}
