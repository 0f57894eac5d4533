//! The settings as the pure core asks them: who is on call, who is told, which policy fails over.

use std::collections::BTreeMap;

use watchkeep_catalog::{Instance, Time};

use crate::{
    config::{AlertingConfig, FailoverPolicy, Invalid, Pages, When},
    incident::Recipient,
    oncall::Rotation,
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
        Ok(Self { policies, rotations, pages, contacts })
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
