//! `alertmanager.yml`, as it is: plain serde shapes with Alertmanager's names and defaults. What is wrong with a file
//! beyond its shape is said in [`AlertmanagerConfig::validate`], before anything starts.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::config::Invalid;

mod global;
mod http;
mod interval;
mod receiver;
mod resolve;
mod validate;
mod value;

pub(crate) use global::Global;
pub(crate) use http::{HttpConfig, Oauth2, TlsConfig};
pub(crate) use interval::{NamedIntervals, TimeInterval};
pub(crate) use receiver::{
    DiscordConfig, EmailConfig, MsTeamsConfig, OncallConfig, OpsgenieConfig, PagerdutyConfig,
    Receiver, SlackConfig, TelegramConfig, WebhookConfig,
};
pub(crate) use value::{Hidden, Span};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// What holds where a receiver does not say so itself.
    #[serde(default)]
    pub(crate) global: Global,
    /// Which alerts go where.
    pub(crate) route: Option<Route>,
    /// Which alerts silence which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inhibit_rules: Vec<InhibitRule>,
    /// Who is told, and how.
    #[serde(default)]
    pub(crate) receivers: Vec<Receiver>,
    /// Files of templates; `*` and `?` stand for names.
    #[serde(default)]
    pub(crate) templates: Vec<String>,
    /// The older name of `time_intervals`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mute_time_intervals: Vec<NamedIntervals>,
    /// Times that routes refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) time_intervals: Vec<NamedIntervals>,
}

impl AlertmanagerConfig {
    /// Templates, certificates and secrets of HTTP that are named by a relative path lie in `dir`, beside the file.
    pub fn resolve(&mut self, dir: &Path) {
        resolve::resolve(self, dir);
    }

    /// What is wrong beyond the shape: the path of each field, and a message with the remedy. Reads the files that are
    /// named in it.
    ///
    /// # Errors
    /// Everything at once.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        validate::validate(self)
    }
}

/// A node of the route tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Route {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receiver: Option<String>,
    /// Label names, or `...` for all; none: as the parent says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_by: Option<Vec<String>>,
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) equal: BTreeMap<String, String>,
    #[serde(rename = "match_re", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) regex: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) matchers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mute_time_intervals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) active_time_intervals: Vec<String>,
    #[serde(rename = "continue")]
    pub(crate) goes_on: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_wait: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group_interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeat_interval: Option<Span>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
}

/// Alerts that fire (source) keep quiet others (target) with the same values of some labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct InhibitRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) source_match: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) source_match_re: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) source_matchers: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) target_match: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) target_match_re: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) target_matchers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) equal: Vec<String>,
}
