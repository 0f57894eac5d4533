//! The settings as the pure core asks them: who is on call, who is told, which policy fails over.

use std::collections::BTreeMap;

use watchkeep_catalog::{Instance, Quorum, Service, Time};

use crate::{
    config::{AlertingConfig, FailoverPolicy, Invalid, Pages, When},
    fleet::Limit,
    incident::Recipient,
    maintenance::{Window, Windows},
    oncall::Rotation,
    verdict::Jury,
};

/// E-mail address and webhook URL of a person or a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) email: Option<String>,
    pub(crate) webhook: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) policies: Vec<FailoverPolicy>,
    pub(crate) rotations: Vec<Rotation>,
    pub(crate) pages: Pages,
    pub(crate) contacts: BTreeMap<String, Contact>,
    /// The maintenance windows of the configuration.
    pub(crate) windows: Windows,
    quorum: Quorum,
    opinions_min: u32,
    panic: Limit,
}

impl Rules {
    /// Reads the schedules.
    ///
    /// # Errors
    /// What is wrong with them; nothing when the settings are valid.
    pub(crate) fn new(config: &AlertingConfig) -> Result<Self, Vec<Invalid>> {
        let rotations = config.schedules.iter().map(Rotation::new).collect::<Result<_, _>>()?;
        let people = config.people.iter().map(|p| (&p.name, &p.email, &p.webhook));
        let receivers = config.receivers.iter().map(|r| (&r.name, &r.email, &r.webhook));
        let contacts = people
            .chain(receivers)
            .map(|(name, email, webhook)| {
                (name.clone(), Contact { email: email.clone(), webhook: webhook.clone() })
            })
            .collect();
        let (policies, pages) = (config.failover.clone(), config.pages.clone());
        let mut windows = Vec::new();
        for (at, record) in config.maintenance.iter().enumerate() {
            let window = Window::new(record.clone())
                .map_err(|message| vec![Invalid { path: format!("maintenance[{at}]"), message }])?;
            windows.push(window);
        }
        Ok(Self {
            policies,
            rotations,
            pages,
            contacts,
            windows: Windows::new(windows),
            quorum: config.quorum,
            opinions_min: config.opinions_min,
            panic: Limit {
                percent: config.panic_threshold_percent,
                instances_min: config.panic_instances_min,
            },
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

    /// The person whom pages go to.
    pub(crate) fn on_call(&self, now: Time) -> Option<String> {
        let name = self.pages.schedule.as_ref()?;
        let rotation = self.rotations.iter().find(|rotation| rotation.name == *name)?;
        Some(rotation.who(now).person)
    }

    /// Everybody who is told of an incident that opens with `on_call` on duty.
    pub(crate) fn recipients(&self, on_call: Option<&str>) -> Vec<Recipient> {
        let names = on_call.into_iter().chain(self.pages.receivers.iter().map(String::as_str));
        let mut recipients = Vec::new();
        for name in names {
            let Some(contact) = self.contacts.get(name) else { continue };
            for (channel, to) in [("email", &contact.email), ("webhook", &contact.webhook)] {
                if let Some(to) = to {
                    recipients.push(Recipient {
                        receiver: name.to_owned(),
                        channel: channel.to_owned(),
                        to: to.clone(),
                    });
                }
            }
        }
        recipients
    }

    /// The first policy that matches a critical instance.
    pub(crate) fn policy_for(&self, instance: &Instance) -> Option<&FailoverPolicy> {
        self.policies.iter().find(|policy| matches(&policy.when, instance))
    }
}

fn matches(when: &When, instance: &Instance) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|w| w == found);
    is(&when.service, &instance.service)
        && is(&when.role, &instance.role)
        && is(&when.instance, &instance.id)
}
