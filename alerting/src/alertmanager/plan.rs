//! An `alertmanager.yml` made ready: the tree, the intervals, and each receiver's integrations. Pure.

use std::{collections::BTreeMap, sync::Arc};

use watchkeep_catalog::Time;

use super::{
    config::{
        AlertmanagerConfig, DiscordConfig, EmailConfig, MsTeamsConfig, NamedIntervals,
        OncallConfig, OpsgenieConfig, PagerdutyConfig, SlackConfig, TelegramConfig, WebhookConfig,
    },
    route::{Route, Tree},
};

/// How somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    Email(EmailConfig),
    Webhook(WebhookConfig),
    Slack(SlackConfig),
    Pagerduty(PagerdutyConfig),
    Opsgenie(OpsgenieConfig),
    Telegram(TelegramConfig),
    Discord(DiscordConfig),
    MsTeams(MsTeamsConfig),
    Oncall(OncallConfig),
}

impl Way {
    /// Its name in metrics and records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Pagerduty(_) => "pagerduty",
            Self::Opsgenie(_) => "opsgenie",
            Self::Telegram(_) => "telegram",
            Self::Discord(_) => "discord",
            Self::MsTeams(_) => "msteamsv2",
            Self::Oncall(_) => "oncall",
        }
    }

    /// Whether it is told of what is over.
    pub(crate) fn send_resolved(&self) -> bool {
        match self {
            Self::Email(config) => config.send_resolved,
            Self::Webhook(config) => config.send_resolved,
            Self::Slack(config) => config.send_resolved,
            Self::Pagerduty(config) => config.send_resolved,
            Self::Opsgenie(config) => config.send_resolved,
            Self::Telegram(config) => config.send_resolved,
            Self::Discord(config) => config.send_resolved,
            Self::MsTeams(config) => config.send_resolved,
            Self::Oncall(config) => config.send_resolved,
        }
    }
}

/// One way of one receiver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Integration {
    pub(crate) receiver: String,
    /// Its number among those of its kind.
    pub(crate) index: u32,
    pub(crate) way: Way,
}

/// The whole, made ready.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: AlertmanagerConfig,
    pub(crate) tree: Tree,
    intervals: BTreeMap<String, NamedIntervals>,
    integrations: BTreeMap<String, Vec<Arc<Integration>>>,
}

impl Plan {
    /// # Errors
    /// When the configuration was not validated and a matcher cannot be read.
    pub(crate) fn new(config: AlertmanagerConfig) -> Result<Self, String> {
        let tree = Tree::new(config.route.as_ref().ok_or("route is missing")?)?;
        let intervals = config.mute_time_intervals.iter().chain(&config.time_intervals);
        let intervals = intervals.map(|named| (named.name.clone(), named.clone())).collect();
        let integrations = config.receivers.iter().map(|receiver| {
            let mut all = Vec::new();
            let mut add = |index: usize, way: Way| {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                all.push(Arc::new(Integration { receiver: receiver.name.clone(), index, way }));
            };
            macro_rules! each {
                ($($list:ident => $way:ident),*) => {$(
                    for (at, config) in receiver.$list.iter().enumerate() {
                        add(at, Way::$way(config.clone()));
                    }
                )*};
            }
            each!(
                oncall_configs => Oncall, webhook_configs => Webhook, email_configs => Email,
                pagerduty_configs => Pagerduty, opsgenie_configs => Opsgenie, slack_configs => Slack,
                telegram_configs => Telegram, discord_configs => Discord, msteamsv2_configs => MsTeams
            );
            (receiver.name.clone(), all)
        });
        Ok(Self { integrations: integrations.collect(), tree, intervals, config })
    }

    /// The ways of a receiver.
    pub(crate) fn integrations(&self, receiver: &str) -> &[Arc<Integration>] {
        self.integrations.get(receiver).map_or(&[], Vec::as_slice)
    }

    /// Whether an integration of another plan is told in this one as it was there.
    pub(crate) fn keeps(&self, integration: &Integration, of: &Self) -> bool {
        let mut known = self.integrations(&integration.receiver).iter();
        self.config.global == of.config.global && known.any(|own| **own == *integration)
    }

    /// The intervals that mute a route at `now`; the empty list when it speaks. A route with active intervals is mute
    /// outside of all of them.
    pub(crate) fn muted_by<'a>(&self, route: &'a Route, now: Time) -> Vec<&'a str> {
        let holds = |name: &&String| self.intervals.get(*name).is_some_and(|i| i.contains(now));
        let mut by: Vec<&str> = route.mute.iter().filter(holds).map(String::as_str).collect();
        if !route.active.is_empty() && !route.active.iter().any(|name| holds(&name)) {
            by.extend(route.active.iter().map(String::as_str));
        }
        by
    }
}
