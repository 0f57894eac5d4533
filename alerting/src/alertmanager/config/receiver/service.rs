//! Receivers that page people themselves: PagerDuty, Opsgenie.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alertmanager::config::{Hidden, HttpConfig};

/// PagerDuty's Events API, version 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PagerdutyConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routing_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) routing_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) client_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) images: Vec<PagerdutyImage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<PagerdutyLink>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
}

impl Default for PagerdutyConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            routing_key: None,
            routing_key_file: None,
            service_key: None,
            service_key_file: None,
            url: None,
            client: r#"{{ template "pagerduty.default.client" . }}"#.to_owned(),
            client_url: r#"{{ template "pagerduty.default.clientURL" . }}"#.to_owned(),
            description: r#"{{ template "pagerduty.default.description" .}}"#.to_owned(),
            details: BTreeMap::new(),
            images: Vec::new(),
            links: Vec::new(),
            source: String::new(),
            severity: "error".to_owned(),
            class: String::new(),
            component: String::new(),
            group: String::new(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PagerdutyImage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) src: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) alt: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) href: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PagerdutyLink {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) href: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
}

/// An alert in Opsgenie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpsgenieConfig {
    pub(crate) send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http_config: Option<HttpConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) details: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) responders: Vec<OpsgenieResponder>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) actions: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) tags: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) priority: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) update_alerts: bool,
}

impl Default for OpsgenieConfig {
    fn default() -> Self {
        Self {
            send_resolved: true,
            http_config: None,
            api_key: None,
            api_key_file: None,
            api_url: None,
            message: r#"{{ template "opsgenie.default.message" . }}"#.to_owned(),
            description: r#"{{ template "opsgenie.default.description" . }}"#.to_owned(),
            source: r#"{{ template "opsgenie.default.source" . }}"#.to_owned(),
            details: BTreeMap::new(),
            entity: String::new(),
            responders: Vec::new(),
            actions: String::new(),
            tags: String::new(),
            note: String::new(),
            priority: String::new(),
            update_alerts: false,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpsgenieResponder {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
}
