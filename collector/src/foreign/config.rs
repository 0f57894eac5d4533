//! Which prefixes are mirrored, and how their values are read.

use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Check, keys};

/// Stands in `service` for what the key says.
pub(super) const FROM_KEY: &str = "{service}";

/// How a value says where its instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// gRPC-Go's and etcd's naming: `{"Op":0,"Addr":"10.0.0.1:80","Metadata":…}`.
    GrpcEndpoints,
    /// `10.0.0.1:80`.
    HostPort,
}

/// One prefix of foreign registrations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignConfig {
    /// Where they lie, such as `/services/`.
    pub prefix: String,
    /// How values are read.
    pub format: Format,
    /// The service's name, in which `{service}` stands for the key's segments between the prefix and the last, joined
    /// by dots.
    #[serde(default = "from_key")]
    pub service: String,
    /// How the instances are probed.
    #[serde(default)]
    pub checks: Vec<Check>,
}

fn from_key() -> String {
    FROM_KEY.to_owned()
}

/// What is wrong: the path of each field and the message.
pub(crate) fn validate(configs: &[ForeignConfig]) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (at, config) in configs.iter().enumerate() {
        let mut refuse = |field: &str, message: String| {
            wrong.push((format!("foreign[{at}].{field}"), message));
        };
        let prefix = config.prefix.as_str();
        let overlap = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        if prefix.is_empty() {
            refuse("prefix", "empty: give the prefix of the keys, like /services/".to_owned());
        } else if overlap(keys::ROOT) {
            let message =
                format!("{prefix:?} overlaps {:?}, where Watchkeep's own lie", keys::ROOT);
            refuse("prefix", message);
        }
        let before = configs[..at].iter().find(|other| overlap(&other.prefix));
        if let Some(other) = before.filter(|_| !prefix.is_empty()) {
            let other = &other.prefix;
            refuse(
                "prefix",
                format!("{prefix:?} overlaps {other:?}: one key would be two instances"),
            );
        }
        let named = config.service.replace(FROM_KEY, "x");
        if let Err(error) = watchkeep_catalog::check_name("service", &named) {
            refuse("service", error.to_string());
        }
        for (check_at, check) in config.checks.iter().enumerate() {
            let field = format!("checks[{check_at}]");
            if let Err(error) = check.validate() {
                refuse(&field, error.to_string());
            }
            if config.checks[..check_at].iter().any(|other| other.name == check.name) {
                refuse(
                    &field,
                    format!("two checks are named {:?}: give each its own name", check.name),
                );
            }
        }
    }
    wrong
}
