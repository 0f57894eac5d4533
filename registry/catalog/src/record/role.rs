//! Who has a role in a service, which instances are left out, and whether failovers are stopped: what failovers move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;

/// The role of instances that do not serve.
pub const STANDBY: &str = "standby";

/// What [`FailoverStep::before`](crate::FailoverStep::before) calls an instance's role, with its id behind it.
const ROLE_OF: &str = "role of ";

/// Under which name a journal keeps the role that an instance had before.
#[must_use]
pub fn role_note(instance: &str) -> String {
    format!("{ROLE_OF}{instance}")
}

/// The instance whose role a journal keeps under this name; nothing where it keeps something else.
#[must_use]
pub fn role_before(what: &str) -> Option<&str> {
    what.strip_prefix(ROLE_OF)
}

/// Who has a role of a service. While the key is there it decides, whatever instances say of themselves: a primary that
/// comes back and still calls itself so is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleHolder {
    /// The service.
    pub service: String,
    /// The role: `primary`.
    pub role: String,
    /// The instance that has it.
    pub instance: String,
    /// The role of every other instance that claims it.
    pub others: String,
    /// Since when.
    pub since: Time,
    /// The failover that gave it.
    pub failover: String,
}

/// The holders of one service, by role.
pub type RoleHolders = BTreeMap<String, RoleHolder>;

/// The role of an instance that says of itself that it has the role `declared`.
#[must_use]
pub fn effective_role<'a>(
    instance: &str,
    declared: &'a str,
    holders: Option<&'a RoleHolders>,
) -> &'a str {
    let Some(holders) = holders else { return declared };
    if let Some(held) = holders.values().find(|holder| holder.instance == instance) {
        return &held.role;
    }
    holders.get(declared).map_or(declared, |holder| &holder.others)
}

/// An instance that is left out of answers, whether it is well or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// Since when.
    pub since: Time,
    /// Who did it: a person, or a failover's id.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A drained instance is not registered any more; or its drain has ended by that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainAbsence {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// Since when it is not registered.
    pub since: Time,
    /// When the drain ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The drain that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

impl DrainAbsence {
    /// Whether this drain waits for that instance: it was made before the instance went.
    #[must_use]
    pub fn is_of(&self, drain: &Drain) -> bool {
        self.ended_at.is_none() && self.since >= drain.since
    }
}

/// While this is there, no failover is begun and none goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverStop {
    /// Since when.
    pub since: Time,
    /// Who stopped them.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_decides_whatever_instances_say() {
        let holder = RoleHolder {
            service: "db".to_owned(),
            role: "primary".to_owned(),
            instance: "two".to_owned(),
            others: "standby".to_owned(),
            since: Time::UNIX_EPOCH,
            failover: "f".to_owned(),
        };
        let holders = RoleHolders::from([("primary".to_owned(), holder)]);
        for (instance, declared, role) in [
            ("one", "primary", "standby"),
            ("two", "standby", "primary"),
            ("two", "primary", "primary"),
            ("three", "standby", "standby"),
            ("three", "", ""),
        ] {
            assert_eq!(effective_role(instance, declared, Some(&holders)), role, "{instance}");
        }
        assert_eq!(effective_role("one", "primary", None), "primary");
    }
}
