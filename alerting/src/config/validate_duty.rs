//! What can be wrong with on-call duty: people nobody can reach, schedules with gaps, policies that lead nowhere.

use std::collections::BTreeSet;

use super::{
    AlertingConfig, Channel, EscalationPolicy, Invalid, Notify, Secret, Target,
    validate::{Findings, check_url},
};
use crate::{oncall::Schedule, text::instant};

const SECONDS_OF_DAY: std::ops::RangeInclusive<u32> = 0..=86_400;
const WAIT_SECONDS: std::ops::RangeInclusive<u32> = 1..=86_400;
const MESSAGES: std::ops::RangeInclusive<u32> = 1..=1_000;
const REPEAT: std::ops::RangeInclusive<u32> = 0..=20;
const INTERVAL_SECONDS: std::ops::RangeInclusive<u32> = 1..=2_678_400;
/// Steps of a policy, targets of a step, rules of a person.
const LIST_MAX: usize = 50;

/// Everything that is defined under a name.
struct Names<'a> {
    people: Vec<&'a str>,
    receivers: Vec<&'a str>,
    schedules: Vec<&'a str>,
    teams: Vec<&'a str>,
    escalations: Vec<&'a str>,
}

impl AlertingConfig {
    pub(super) fn check_duty(&self, found: &mut Findings) {
        let names = Names {
            people: self.people.iter().map(|p| p.name.as_str()).collect(),
            receivers: self.receivers.iter().map(|r| r.name.as_str()).collect(),
            schedules: self.schedules.iter().map(|s| s.name.as_str()).collect(),
            teams: self.teams.iter().map(|t| t.name.as_str()).collect(),
            escalations: self.escalations.iter().map(|e| e.name.as_str()).collect(),
        };
        let paths = |list: &str, names: &[&str]| -> Vec<String> {
            (0..names.len()).map(|at| format!("{list}[{at}].name")).collect()
        };
        for (what, list, defined) in [
            ("schedule", "schedules", &names.schedules),
            ("team", "teams", &names.teams),
            ("escalation policy", "escalations", &names.escalations),
        ] {
            let paths = paths(list, defined);
            found.names(what, paths.into_iter().zip(defined.iter().copied()));
        }
        for (at, person) in self.people.iter().enumerate() {
            let ways = [
                (Channel::Email, person.email.is_some()),
                (Channel::Webhook, person.webhook.is_some()),
            ];
            check_notify(found, &format!("people[{at}].notify"), &person.notify, &ways);
        }
        for (at, team) in self.teams.iter().enumerate() {
            if team.people.is_empty() {
                found.add(format!("teams[{at}].people"), "the team is empty: name people");
            }
            for (number, name) in team.people.iter().enumerate() {
                let path = format!("teams[{at}].people[{number}]");
                found.refers(path, "person", name, &names.people);
            }
        }
        for (at, policy) in self.escalations.iter().enumerate() {
            check_policy(found, &format!("escalations[{at}]"), policy, &names);
        }
        self.check_schedules(found, &names);
        self.check_pages(found, &names);
        self.check_sources(found, &names);
    }

    fn check_schedules(&self, found: &mut Findings, names: &Names<'_>) {
        let used = self.used_schedules();
        for (at, schedule) in self.schedules.iter().enumerate() {
            let path = format!("schedules[{at}]");
            let read = Schedule::new(schedule);
            for (at, name) in schedule.rotation.iter().enumerate() {
                found.refers(format!("{path}.rotation[{at}]"), "person", name, &names.people);
            }
            for (layer, config) in schedule.layers.iter().enumerate() {
                for (at, name) in config.rotation.iter().enumerate() {
                    let path = format!("{path}.layers[{layer}].rotation[{at}]");
                    found.refers(path, "person", name, &names.people);
                }
            }
            match read {
                Err(invalid) => {
                    for Invalid { path: field, message } in invalid {
                        found.add(format!("{path}.{field}"), message);
                    }
                }
                Ok(read) if used.contains(schedule.name.as_str()) => {
                    if let Some(gap) = read.gap() {
                        found.add(format!("{path}.layers"), format!(
                            "nobody is on call from {} to {}, and pages go to whoever is: add a layer that is always there, as the first",
                            instant(gap.from),
                            instant(gap.to)
                        ));
                    }
                }
                Ok(_) => {}
            }
        }
    }

    /// The schedules by which somebody is called.
    fn used_schedules(&self) -> BTreeSet<&str> {
        let steps = self.escalations.iter().flat_map(|policy| {
            policy.steps.iter().flat_map(|step| &step.targets).chain(&policy.last_resort)
        });
        let named = steps.filter_map(|target| match target {
            Target::Schedule(name) => Some(name.as_str()),
            _ => None,
        });
        named.chain(self.pages.schedule.as_deref()).collect()
    }

    fn check_pages(&self, found: &mut Findings, names: &Names<'_>) {
        let pages = &self.pages;
        if let Some(name) = &pages.schedule {
            found.refers("pages.schedule".into(), "schedule", name, &names.schedules);
        }
        if let Some(name) = &pages.escalation {
            found.refers("pages.escalation".into(), "escalation policy", name, &names.escalations);
            if pages.schedule.is_some() {
                let message = "it goes with pages.schedule by no means: make the schedule a target of the policy's first step";
                found.add("pages.escalation", message);
            }
        }
        for (at, name) in pages.receivers.iter().enumerate() {
            let path = format!("pages.receivers[{at}]");
            if pages.receivers[..at].contains(name) {
                found.add(
                    &path,
                    format!("receiver {name:?} is named twice: it would be told twice"),
                );
            }
            found.refers(path, "receiver", name, &names.receivers);
        }
        if let Some(file) = &pages.link_secret_file {
            found.check("pages.link_secret_file", Secret::read(file).map(drop));
        }
        if let Some(limit) = &pages.rate_limit {
            found.range("pages.rate_limit.messages".into(), &limit.messages, &MESSAGES);
            found.range("pages.rate_limit.per_seconds".into(), &limit.per_seconds, &WAIT_SECONDS);
        }
        let interval = &pages.dead_man_interval_seconds;
        found.range("pages.dead_man_interval_seconds".into(), interval, &WAIT_SECONDS);
        if let Some(url) = &pages.dead_man_url {
            found.check("pages.dead_man_url", check_url(url));
        }
    }

    fn check_sources(&self, found: &mut Findings, names: &Names<'_>) {
        let policy = |found: &mut Findings, path: String, name: &Option<String>| {
            if let Some(name) = name {
                found.refers(path, "escalation policy", name, &names.escalations);
            }
        };
        found.names(
            "heartbeat",
            self.heartbeats
                .iter()
                .enumerate()
                .map(|(at, heartbeat)| (format!("heartbeats[{at}].name"), heartbeat.name.as_str())),
        );
        for (at, heartbeat) in self.heartbeats.iter().enumerate() {
            let path = format!("heartbeats[{at}]");
            let interval = &heartbeat.interval_seconds;
            found.range(format!("{path}.interval_seconds"), interval, &INTERVAL_SECONDS);
            policy(found, format!("{path}.escalation"), &heartbeat.escalation);
        }
        found.names(
            "integration",
            self.integrations.iter().enumerate().map(|(at, integration)| {
                (format!("integrations[{at}].name"), integration.name.as_str())
            }),
        );
        for (at, integration) in self.integrations.iter().enumerate() {
            let path = format!("integrations[{at}]");
            let read = Secret::read(&integration.routing_key_file).and_then(|s| s.text().map(drop));
            found.check(format!("{path}.routing_key_file"), read);
            policy(found, format!("{path}.escalation"), &integration.escalation);
        }
    }
}

fn check_notify(found: &mut Findings, path: &str, notify: &Notify, ways: &[(Channel, bool)]) {
    for (list, rules) in [("urgent", &notify.urgent), ("not_urgent", &notify.not_urgent)] {
        if rules.len() > LIST_MAX {
            found.add(format!("{path}.{list}"), format!("at most {LIST_MAX} rules are allowed"));
        }
        for (at, rule) in rules.iter().enumerate() {
            let path = format!("{path}.{list}[{at}]");
            if !ways.contains(&(rule.channel, true)) {
                let channel = rule.channel.as_str();
                found.add(
                    format!("{path}.channel"),
                    format!("{channel} is not set: the person cannot be reached so"),
                );
            }
            found.range(format!("{path}.after_seconds"), &rule.after_seconds, &SECONDS_OF_DAY);
        }
    }
    if notify.urgent.is_empty() && !notify.not_urgent.is_empty() {
        found.add(
            format!("{path}.urgent"),
            "it is empty, but not_urgent is not: say how urgent things are told",
        );
    }
}

fn check_policy(found: &mut Findings, path: &str, policy: &EscalationPolicy, names: &Names<'_>) {
    if policy.steps.is_empty() || policy.steps.len() > LIST_MAX {
        found.add(format!("{path}.steps"), format!("give 1 to {LIST_MAX} steps"));
    }
    found.range(format!("{path}.repeat"), &policy.repeat, &REPEAT);
    let mut targets = |path: &str, targets: &[Target]| {
        for (at, target) in targets.iter().enumerate() {
            let (what, name, defined) = match target {
                Target::Schedule(name) => ("schedule", name, &names.schedules),
                Target::Person(name) => ("person", name, &names.people),
                Target::Team(name) => ("team", name, &names.teams),
                Target::Receiver(name) => ("receiver", name, &names.receivers),
            };
            found.refers(format!("{path}[{at}].{what}"), what, name, defined);
        }
    };
    for (at, step) in policy.steps.iter().enumerate() {
        targets(&format!("{path}.steps[{at}].targets"), &step.targets);
    }
    targets(&format!("{path}.last_resort"), &policy.last_resort);
    for (at, step) in policy.steps.iter().enumerate() {
        let path = format!("{path}.steps[{at}]");
        if step.targets.is_empty() || step.targets.len() > LIST_MAX {
            found.add(format!("{path}.targets"), format!("give 1 to {LIST_MAX} targets"));
        }
        found.range(format!("{path}.wait_seconds"), &step.wait_seconds, &WAIT_SECONDS);
    }
}
