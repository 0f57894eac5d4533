//! The settings as the pure core asks them: who is on call, who is told, which policy fails over.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use watchkeep_catalog::{Instance, Quorum, ScheduleChange, Service, Time};

use crate::{
    config::{
        AlertingConfig, Channel, EscalationPolicy, FailoverPolicy, HeartbeatConfig, Invalid,
        Notify, NotifyRule, Pages, Target, When, undefined,
    },
    fleet::Limit,
    incident::{Recipient, Refusal},
    maintenance::{Window, Windows},
    oncall::{Changes, Schedule},
    verdict::Jury,
};

/// How a person or a receiver is reached.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) email: Option<String>,
    pub(crate) webhook: Option<String>,
    notify: Notify,
    is_person: bool,
}

impl Contact {
    fn to(&self, channel: Channel) -> Option<&String> {
        match channel {
            Channel::Email => self.email.as_ref(),
            Channel::Webhook => self.webhook.as_ref(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) policies: Vec<FailoverPolicy>,
    pub(crate) schedules: Vec<Schedule>,
    /// What people changed in them; the configuration knows none.
    pub(crate) changes: Changes,
    pub(crate) escalations: Vec<EscalationPolicy>,
    pub(crate) heartbeats: Vec<HeartbeatConfig>,
    teams: BTreeMap<String, Vec<String>>,
    pub(crate) pages: Pages,
    pub(crate) contacts: BTreeMap<String, Contact>,
    /// The maintenance windows of the configuration.
    pub(crate) windows: Windows,
    quorum: Quorum,
    opinions_min: u32,
    panic: Limit,
    /// Whether failovers happen at all.
    pub(crate) failover_enabled: bool,
    /// How long a drain waits for an instance that is not registered any more; none: for ever.
    pub(crate) drain_retention: Option<TimeDelta>,
    /// Alerts of rules become incidents: there are no routes for them.
    pub(crate) opens_incidents: bool,
}

impl Rules {
    /// Reads the schedules.
    ///
    /// # Errors
    /// What is wrong with them; nothing when the settings are valid.
    pub(crate) fn new(config: &AlertingConfig) -> Result<Self, Vec<Invalid>> {
        let schedules = config.schedules.iter().map(Schedule::new).collect::<Result<_, _>>()?;
        let people = config.people.iter().map(|p| (&p.name, &p.email, &p.webhook, Some(&p.notify)));
        let receivers = config.receivers.iter().map(|r| (&r.name, &r.email, &r.webhook, None));
        let contacts = people
            .chain(receivers)
            .map(|(name, email, webhook, notify)| {
                let contact = Contact {
                    email: email.clone(),
                    webhook: webhook.clone(),
                    notify: notify.cloned().unwrap_or_default(),
                    is_person: notify.is_some(),
                };
                (name.clone(), contact)
            })
            .collect();
        let teams = config.teams.iter().map(|team| (team.name.clone(), team.people.clone()));
        let (policies, pages) = (config.failover.clone(), config.pages.clone());
        let mut windows = Vec::new();
        for (at, record) in config.maintenance.iter().enumerate() {
            let window = Window::new(record.clone())
                .map_err(|message| vec![Invalid { path: format!("maintenance[{at}]"), message }])?;
            windows.push(window);
        }
        Ok(Self {
            policies,
            schedules,
            changes: Changes::new(),
            escalations: config.escalations.clone(),
            heartbeats: config.heartbeats.clone(),
            teams: teams.collect(),
            pages,
            contacts,
            windows: Windows::new(windows),
            quorum: config.quorum,
            opinions_min: config.opinions_min,
            panic: Limit {
                percent: config.panic_threshold_percent,
                instances_min: config.panic_instances_min,
            },
            failover_enabled: config.failover_enabled,
            drain_retention: match config.drain_retention_hours {
                0 => None,
                hours => Some(TimeDelta::hours(i64::from(hours))),
            },
            opens_incidents: config.alertmanager_config.is_none(),
        })
    }

    /// Who decides on the checks of a service while so many collectors are alive.
    pub(crate) fn jury(&self, service: Option<&Service>, collectors: usize) -> Jury {
        let quorum = service.and_then(|service| service.quorum).unwrap_or(self.quorum);
        Jury::new(quorum, self.opinions_min, collectors)
    }

    /// When a service panics.
    pub(crate) fn panic_limit(&self, service: Option<&Service>) -> Limit {
        let own = service.and_then(|service| service.panic_threshold_percent);
        Limit { percent: own.unwrap_or(self.panic.percent), ..self.panic }
    }

    /// What people changed in a schedule.
    pub(crate) fn changes_of(&self, schedule: &str) -> &[ScheduleChange] {
        self.changes.get(schedule).map_or(&[], Vec::as_slice)
    }

    /// Whoever is on call by a schedule.
    pub(crate) fn on_call_by(&self, schedule: &str, now: Time) -> Option<String> {
        let found = self.schedules.iter().find(|found| found.name == *schedule)?;
        found.who(now, self.changes_of(schedule)).person
    }

    /// The person whom pages go to.
    pub(crate) fn on_call(&self, now: Time) -> Option<String> {
        self.on_call_by(self.pages.schedule.as_ref()?, now)
    }

    /// Whoever is on call by the first schedule that a policy names.
    pub(crate) fn first_on_call(&self, policy: &str, now: Time) -> Option<String> {
        let policy = self.escalations.iter().find(|known| known.name == policy)?;
        policy.steps.iter().flat_map(|step| &step.targets).find_map(|target| match target {
            Target::Schedule(name) => self.on_call_by(name, now),
            Target::Person(name) => Some(name.clone()),
            Target::Team(_) | Target::Receiver(_) => None,
        })
    }

    /// Whether there is an escalation policy of this name.
    pub(crate) fn escalates(&self, name: &str) -> bool {
        self.escalations.iter().any(|policy| policy.name == name)
    }

    /// # Errors
    /// When there is no such policy.
    pub(crate) fn check_escalation(&self, name: &str) -> Result<(), Refusal> {
        let defined: Vec<_> = self.escalations.iter().map(|p| p.name.as_str()).collect();
        refuse_unknown("escalation policy", name, &defined)
    }

    /// # Errors
    /// When there is no such person.
    pub(crate) fn check_person(&self, name: &str) -> Result<(), Refusal> {
        let people = self.contacts.iter().filter(|(_, contact)| contact.is_person);
        let defined: Vec<_> = people.map(|(name, _)| name.as_str()).collect();
        refuse_unknown("person", name, &defined)
    }

    /// Those who are meant by names of people and of teams, each once.
    ///
    /// # Errors
    /// When there is neither a person nor a team of a name.
    pub(crate) fn people(&self, names: &[String]) -> Result<Vec<String>, Refusal> {
        let mut people: Vec<String> = Vec::new();
        for name in names {
            let meant = match self.teams.get(name) {
                Some(team) if !self.is_person(name) => team.as_slice(),
                _ => {
                    self.check_person_or_team(name)?;
                    std::slice::from_ref(name)
                }
            };
            for person in meant {
                if !people.contains(person) {
                    people.push(person.clone());
                }
            }
        }
        Ok(people)
    }

    fn check_person_or_team(&self, name: &str) -> Result<(), Refusal> {
        let people = self.contacts.iter().filter(|(_, contact)| contact.is_person);
        let people = people.map(|(name, _)| name.as_str());
        let defined: Vec<_> = people.chain(self.teams.keys().map(String::as_str)).collect();
        refuse_unknown("person or team", name, &defined)
    }

    /// Whether somebody is a person, and not a receiver such as a program.
    pub(crate) fn is_person(&self, name: &str) -> bool {
        self.contacts.get(name).is_some_and(|contact| contact.is_person)
    }

    /// Whether an incident of this severity is urgent.
    pub(crate) fn is_urgent(&self, severity: &str) -> bool {
        self.pages.urgent.iter().any(|urgent| urgent == severity)
    }

    /// How somebody is called, and each way after how long.
    pub(crate) fn calls(&self, name: &str, urgent: bool) -> Vec<(Recipient, TimeDelta)> {
        let Some(contact) = self.contacts.get(name) else { return Vec::new() };
        let Notify { urgent: first, not_urgent } = &contact.notify;
        let rules = if urgent || not_urgent.is_empty() { first } else { not_urgent };
        let recipient = |channel: Channel| {
            let to = contact.to(channel)?.clone();
            let (receiver, channel) = (name.to_owned(), channel.as_str().to_owned());
            Some(Recipient { receiver, channel, to })
        };
        if rules.is_empty() {
            let all = [Channel::Email, Channel::Webhook].into_iter().filter_map(recipient);
            return all.map(|recipient| (recipient, TimeDelta::zero())).collect();
        }
        let after = |rule: &NotifyRule| TimeDelta::seconds(i64::from(rule.after_seconds));
        rules.iter().filter_map(|rule| Some((recipient(rule.channel)?, after(rule)))).collect()
    }

    /// The other ways to reach somebody, for when one does not work.
    pub(crate) fn other_ways(&self, name: &str, channel: &str) -> Vec<Recipient> {
        let Some(contact) = self.contacts.get(name) else { return Vec::new() };
        let ways = [Channel::Webhook, Channel::Email].into_iter();
        ways.filter(|way| way.as_str() != channel)
            .filter_map(|way| {
                Some(Recipient {
                    receiver: name.to_owned(),
                    channel: way.as_str().to_owned(),
                    to: contact.to(way)?.clone(),
                })
            })
            .collect()
    }

    /// Everybody whom a target of a step means now.
    pub(crate) fn targets(
        &self,
        target: &Target,
        urgent: bool,
        now: Time,
    ) -> Vec<(Recipient, TimeDelta)> {
        match target {
            Target::Schedule(name) => {
                let person = self.on_call_by(name, now);
                person.map_or_else(Vec::new, |person| self.calls(&person, urgent))
            }
            Target::Person(name) | Target::Receiver(name) => self.calls(name, urgent),
            Target::Team(name) => {
                let people = self.teams.get(name).into_iter().flatten();
                people.flat_map(|person| self.calls(person, urgent)).collect()
            }
        }
    }

    /// Those who are told of every incident.
    pub(crate) fn receivers(&self) -> Vec<Recipient> {
        self.recipients(None)
    }

    /// Everybody who is told of an incident that opens with `on_call` on duty.
    pub(crate) fn recipients(&self, on_call: Option<&str>) -> Vec<Recipient> {
        let names = on_call.into_iter().chain(self.pages.receivers.iter().map(String::as_str));
        names.flat_map(|name| self.calls(name, true)).map(|(recipient, _)| recipient).collect()
    }

    /// The first policy that the verdict on a critical instance triggers.
    pub(crate) fn policy_for(&self, instance: &Instance) -> Option<&FailoverPolicy> {
        self.policies.iter().find(|policy| matches(&policy.when, instance))
    }

    /// The policy of this name.
    pub(crate) fn policy(&self, name: &str) -> Option<&FailoverPolicy> {
        self.policies.iter().find(|policy| policy.name == name)
    }
}

fn refuse_unknown(what: &'static str, name: &str, defined: &[&str]) -> Result<(), Refusal> {
    if defined.contains(&name) {
        return Ok(());
    }
    Err(Refusal::Wrong(undefined(what, name, defined)))
}

/// Whether a verdict on this instance triggers it.
pub(crate) fn matches(when: &When, instance: &Instance) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
    when.is_verdict()
        && when.tag.as_ref().is_none_or(|tag| instance.tags.contains(tag))
        && is(&when.service, &instance.service)
        && is(&when.role, &instance.role)
        && is(&when.instance, &instance.id)
}
