//! A backtest: what a policy would have done about faults that were, which guard would have held it, and how much downtime
//! it would have saved. Pure; the guards are those that decide for real.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use watchkeep_catalog::{GuardResult, Incident, Instance, Maintenance, Time};

use super::guard::{self, Inputs, Member, Past};
use crate::{
    config::FailoverPolicy,
    decide::INSTANCE_CRITICAL,
    maintenance::{Window, Windows},
    rule::parse_duration,
    rules,
};

pub use super::series::expression;

/// Something that would have triggered a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// When Watchkeep knew.
    pub at: Time,
    /// When it was over; none: it was not at the end of what is replayed.
    pub ended_at: Option<Time>,
    /// The service.
    pub service: String,
    /// The instance; empty: the service as a whole.
    pub instance: String,
    /// Its zone, if that is known.
    pub zone: String,
    /// Its role, if that is known.
    pub role: String,
    /// In words.
    pub reason: String,
    /// How many found it critical.
    pub collectors: usize,
}

/// What would have come of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It would have acted, and saved so much downtime.
    Acts {
        /// When.
        at: Time,
        /// What would have been left of the downtime.
        saved: TimeDelta,
    },
    /// It would have been held.
    Held {
        /// When.
        at: Time,
        /// By what.
        by: GuardResult,
    },
    /// It was over before it was confirmed.
    Over,
}

/// The rest of the world.
#[derive(Debug, Clone, Default)]
pub struct Scenery {
    /// Everything that was critical, whatever the policy makes of it.
    pub faults: Vec<Fault>,
    /// Instances by service.
    pub instances: BTreeMap<String, Vec<Instance>>,
    /// Maintenance windows.
    pub maintenance: Vec<Maintenance>,
}

/// The faults that incidents tell of.
#[must_use]
pub fn faults(incidents: &[Incident]) -> Vec<Fault> {
    let of = |incident: &Incident| {
        let label = |name: &str| incident.labels.get(name).cloned();
        if incident.alert != INSTANCE_CRITICAL {
            return None;
        }
        // `critical by 2 of 3 opinions: …`
        let note = incident.timeline.iter().find_map(|note| note.text.strip_prefix("critical by "));
        let collectors = note.and_then(|text| text.split(' ').next()?.parse().ok());
        Some(Fault {
            at: incident.opened_at,
            ended_at: incident.resolved_at,
            service: label("service")?,
            instance: label("instance")?,
            zone: label("zone").unwrap_or_default(),
            role: label("role").unwrap_or_default(),
            reason: incident.title.clone(),
            collectors: collectors.unwrap_or(1),
        })
    };
    let mut found: Vec<_> = incidents.iter().filter_map(of).collect();
    found.sort_by_key(|fault| fault.at);
    found
}

/// Of these faults, what would have triggered the policy, and what would have come of each. `takes`: from its first step
/// until the service is there again.
#[must_use]
pub fn replay(
    policy: &FailoverPolicy,
    triggers: &[Fault],
    scenery: &Scenery,
    takes: TimeDelta,
    until: Time,
) -> Vec<(Fault, Fate)> {
    let windows = scenery.maintenance.iter().filter_map(|w| Window::new(w.clone()).ok());
    let windows = Windows::new(windows);
    let mut past: Vec<Past> = Vec::new();
    let mut told = Vec::new();
    let mut answered = BTreeMap::new();
    for fault in triggers.iter().filter(|fault| is_meant(policy, fault, scenery)) {
        let mut fault = placed(policy, fault, scenery);
        let end = fault.ended_at.unwrap_or(until);
        if !policy.when.is_verdict() {
            let place = (fault.service.clone(), fault.instance.clone());
            let Some(at) = unanswered(policy, fault.at, answered.get(&place)) else { continue };
            if end <= at {
                continue;
            }
            fault.at = at;
            answered.insert(place, at);
        }
        let at = fault.at + TimeDelta::seconds(i64::from(policy.confirm_seconds));
        if end <= at {
            told.push((fault, Fate::Over));
            continue;
        }
        let inputs = inputs(&fault, scenery, &windows, &past, at);
        let results = guard::ask(policy, &inputs, at);
        let fate = match guard::held(&results) {
            Some(by) => Fate::Held { at, by: by.clone() },
            None => {
                past.push(Past {
                    id: format!("replayed-{}", past.len() + 1),
                    policy: policy.name.clone(),
                    service: fault.service.clone(),
                    instance: fault.instance.clone(),
                    started_at: at,
                    finished_at: Some(at + takes),
                });
                Fate::Acts { at, saved: (end - at - takes).max(TimeDelta::zero()) }
            }
        };
        told.push((fault, fate));
    }
    told
}

/// What a leader makes of an alert: its instance, if that is one of ours, else the service as a whole.
fn placed(policy: &FailoverPolicy, fault: &Fault, scenery: &Scenery) -> Fault {
    let mut fault = fault.clone();
    if policy.when.is_verdict() {
        return fault;
    }
    if let Some(instance) = &policy.when.instance {
        fault.instance.clone_from(instance);
    }
    let mut registered = scenery.instances.get(&fault.service).into_iter().flatten();
    match registered.find(|known| known.id == fault.instance) {
        Some(own) => fault.zone.clone_from(&own.zone),
        None if policy.when.instance.is_none() => fault.instance.clear(),
        None => {}
    }
    fault
}

/// When an alert or a burn rate that begins at `at` triggers a policy that answered one about the same at `before`: an alert
/// that was there then does not, and the same window burns once.
fn unanswered(policy: &FailoverPolicy, at: Time, before: Option<&Time>) -> Option<Time> {
    let Some(before) = before else { return Some(at) };
    match &policy.when.burn_rate {
        Some(burn) => {
            let window = TimeDelta::from_std(parse_duration(&burn.window).ok()?).ok()?;
            Some(at.max(*before + window))
        }
        None => (at > *before).then_some(at),
    }
}

/// Whether the policy is meant. What triggers it by alert or burn rate was found by that.
fn is_meant(policy: &FailoverPolicy, fault: &Fault, scenery: &Scenery) -> bool {
    if !policy.when.is_verdict() {
        return policy.when.service.as_ref().is_none_or(|service| *service == fault.service);
    }
    let registered = scenery.instances.get(&fault.service).into_iter().flatten();
    let tags = registered.filter(|i| i.id == fault.instance).flat_map(|i| i.tags.clone());
    let instance = Instance {
        service: fault.service.clone(),
        id: fault.instance.clone(),
        address: String::new(),
        port: 0,
        zone: fault.zone.clone(),
        role: fault.role.clone(),
        weight: 1,
        tags: tags.collect(),
        metadata: BTreeMap::new(),
        checks: Vec::new(),
        scrape: None,
    };
    rules::matches(&policy.when, &instance)
}

fn inputs(fault: &Fault, scenery: &Scenery, windows: &Windows, past: &[Past], at: Time) -> Inputs {
    let down = |id: &str| {
        scenery.faults.iter().any(|other| {
            let lasts = other.at <= at && other.ended_at.is_none_or(|end| end > at);
            other.service == fault.service && other.instance == id && lasts
        })
    };
    let registered = scenery.instances.get(&fault.service);
    let members = registered.into_iter().flatten().map(|instance| Member {
        id: instance.id.clone(),
        zone: instance.zone.clone(),
        serves: !down(&instance.id),
    });
    let own = registered.and_then(|all| all.iter().find(|i| i.id == fault.instance));
    let open = windows.open(at);
    let maintenance = match own {
        Some(instance) => {
            let mut checks: Vec<_> = instance.checks.iter().map(|c| c.name.clone()).collect();
            if checks.is_empty() {
                checks.push(String::new());
            }
            open.covering(instance, &checks)
        }
        None => open.of_service(&fault.service),
    };
    let running = |past: &Past| Past {
        // What would still be under way then has no end yet.
        finished_at: past.finished_at.filter(|end| *end <= at),
        ..past.clone()
    };
    Inputs {
        service: fault.service.clone(),
        instance: fault.instance.clone(),
        zone: fault.zone.clone(),
        members: members.collect(),
        past: past.iter().map(running).collect(),
        collectors: fault.collectors,
        maintenance: maintenance.map(str::to_owned),
        never_passed: false,
        doubt: None,
        stopped: None,
        enabled: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::time;

    fn fault(instance: &str, at: i64, ended: Option<i64>) -> Fault {
        Fault {
            at: time(at),
            ended_at: ended.map(time),
            service: "db".to_owned(),
            instance: instance.to_owned(),
            zone: "a".to_owned(),
            role: "primary".to_owned(),
            reason: "refused".to_owned(),
            collectors: 2,
        }
    }

    fn fates(
        policy: serde_json::Value,
        faults: &[Fault],
        maintenance: serde_json::Value,
    ) -> Vec<String> {
        let policy: FailoverPolicy = serde_json::from_value(policy).unwrap();
        let instance =
            |id: &str| Instance { id: id.to_owned(), ..crate::fixtures::instance("db", id) };
        let scenery = Scenery {
            faults: faults.to_vec(),
            instances: BTreeMap::from([("db".to_owned(), vec![instance("one"), instance("two")])]),
            maintenance: serde_json::from_value(maintenance).unwrap(),
        };
        let told = replay(&policy, faults, &scenery, TimeDelta::seconds(5), time(100_000));
        let word = |(_, fate): &(Fault, Fate)| match fate {
            Fate::Acts { saved, .. } => format!("saved {}", saved.num_seconds()),
            Fate::Held { by, .. } => by.guard.clone(),
            Fate::Over => "over".to_owned(),
        };
        told.iter().map(word).collect()
    }

    #[test]
    fn acts_waits_and_is_held() {
        let policy = |guards: serde_json::Value| {
            json!({"name": "p", "when": {"service": "db", "role": "primary"}, "confirm_seconds": 10,
                   "guards": guards, "steps": [{"promote": {}}]})
        };
        // 600 s down; over before it is confirmed; 300 s down soon after; another role.
        let mut faults = [
            fault("one", 0, Some(600)),
            fault("one", 700, Some(705)),
            fault("one", 800, Some(1_100)),
        ];
        assert_eq!(
            fates(policy(json!({})), &faults, json!([])),
            ["saved 585", "over", "saved 285"]
        );
        let cooldown = policy(json!({"cooldown_seconds": 3_600}));
        assert_eq!(fates(cooldown, &faults, json!([])), ["saved 585", "over", "cooldown_seconds"]);
        let window = json!([{"id": "w", "scope": {"service": "db"},
            "from": "2026-01-05T09:10:00Z", "to": "2026-01-05T10:00:00Z"}]);
        assert_eq!(fates(policy(json!({})), &faults, window), ["saved 585", "over", "maintenance"]);
        let minimum = policy(json!({"minimum_healthy": 1}));
        faults[1] = Fault { role: "standby".to_owned(), ..fault("two", 700, None) };
        assert_eq!(fates(minimum, &faults, json!([])), ["saved 585", "minimum_healthy"]);
    }

    #[test]
    fn alerts_are_as_a_leader_takes_them() {
        let policy = |service: &str| {
            json!({"name": "p", "when": {"alert": ["a=\"b\""], "service": service},
                   "guards": {"minimum_healthy": 2}, "steps": [{"promote": {}}]})
        };
        // An address is no instance of ours: both that there are pass. Twice at once is one; another service's is none.
        let faults = [
            fault("10.0.0.1:9100", 0, Some(600)),
            fault("10.0.0.2:9100", 0, Some(600)),
            fault("one", 800, Some(1_100)),
        ];
        let nobody = Vec::<String>::new();
        assert_eq!(fates(policy("db"), &faults[..2], json!([])), ["saved 595"]);
        assert_eq!(fates(policy("db"), &faults[2..], json!([])), ["minimum_healthy"]);
        assert_eq!(fates(policy("web"), &faults, json!([])), nobody);
    }

    #[test]
    fn the_same_window_burns_once() {
        let policy = json!({"name": "p", "when": {"service": "db", "burn_rate": {"above": 1.0, "window": "5m"}},
            "steps": [{"callback": {"url": "http://h/"}}]});
        let whole = |at, ended| fault("", at, Some(ended));
        let faults = [whole(0, 60), whole(120, 180), whole(240, 400)];
        // The third goes on behind the window of the first.
        assert_eq!(fates(policy, &faults, json!([])), ["saved 55", "saved 95"]);
    }

    #[test]
    fn incidents_tell_of_faults() {
        let mut incident = crate::fixtures::opened_incident();
        incident.resolved_at = Some(time(60));
        let found = faults(&[incident.clone()]);
        assert_eq!((found[0].at, found[0].ended_at), (time(2), Some(time(60))));
        assert_eq!(
            (&*found[0].service, &*found[0].role, found[0].collectors),
            ("db", "primary", 1)
        );
        incident.alert = "Other".to_owned();
        assert_eq!(faults(&[incident]), []);
    }
}
