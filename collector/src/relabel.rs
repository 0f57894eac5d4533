//! Relabelling as Prometheus has it: rules that change, keep or drop labels, written as `relabel_configs` in YAML with
//! the same fields, defaults and actions (Prometheus documentation, configuration, `<relabel_config>`). Pure.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize};
use watchkeep_series::Labels;

mod rules;
mod template;

#[cfg(test)]
mod tests;

use template::expand;

/// What a rule does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Sets `target_label` to `replacement` where `regex` matches.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops where the sources differ from `target_label`.
    KeepEqual,
    /// Drops where the sources equal `target_label`.
    DropEqual,
    /// Sets `target_label` to a hash of the sources, modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the names that `replacement` makes.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets `target_label` to the sources in lower case.
    Lowercase,
    /// Sets `target_label` to the sources in upper case.
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl Action {
    fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

impl<'de> Deserialize<'de> for Action {
    /// In any case, as Prometheus takes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        let found = ACTIONS.iter().find(|(name, _)| *name == text);
        found.map(|(_, action)| *action).ok_or_else(|| {
            let known = ACTIONS.map(|(name, _)| name).join(", ");
            serde::de::Error::custom(format!("{text:?} is not an action; known: {known}"))
        })
    }
}

/// One rule, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelabelConfig {
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// Stands between them.
    pub separator: String,
    /// Matched against all of it.
    pub regex: String,
    /// For `hashmod`.
    pub modulus: u64,
    /// What is set; may name groups of `regex`.
    pub target_label: String,
    /// To what; may name groups of `regex`.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// Rules made ready, in their order.
#[derive(Debug, Clone, Default)]
pub struct Relabeling(Vec<(RelabelConfig, Regex)>);

impl Relabeling {
    /// Makes rules ready.
    ///
    /// # Errors
    /// What is wrong with the first that is: its place in the list, the field, the message.
    pub fn new(rules: &[RelabelConfig]) -> Result<Self, (usize, &'static str, String)> {
        let ready = rules.iter().enumerate().map(|(at, rule)| {
            let regex = rule.validate().map_err(|(field, message)| (at, field, message))?;
            Ok((rule.clone(), regex))
        });
        Ok(Self(ready.collect::<Result<_, _>>()?))
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels after all rules; none when one drops them.
    #[must_use]
    pub fn apply(&self, labels: &Labels) -> Option<Labels> {
        if self.is_empty() {
            return Some(labels.clone());
        }
        let mut map = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        self.apply_to(&mut map).then(|| Labels::new(map))
    }

    /// Changes labels; false when a rule drops them. A label with an empty value is one that is not there.
    pub fn apply_to(&self, labels: &mut BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(rule, regex)| step(rule, regex, labels))
    }
}

fn step(rule: &RelabelConfig, regex: &Regex, labels: &mut BTreeMap<String, String>) -> bool {
    let get = |name: &String| labels.get(name).map_or("", String::as_str);
    let sources: Vec<_> = rule.source_labels.iter().map(get).collect();
    let value = sources.join(&rule.separator);
    let target = rule.target_label.as_str();
    match rule.action {
        Action::Keep => return regex.is_match(&value),
        Action::Drop => return !regex.is_match(&value),
        Action::KeepEqual => return get(&rule.target_label) == value,
        Action::DropEqual => return get(&rule.target_label) != value,
        Action::Replace => {
            let Some(groups) = regex.captures(&value) else { return true };
            let target = expand(target, &groups);
            if rules::is_label_name(&target) {
                let value = expand(&rule.replacement, &groups);
                set(labels, target, value);
            }
        }
        Action::HashMod => {
            // The second half of MD5, as a number, most significant byte first.
            let hash = Md5::digest(value.as_bytes());
            let number = hash[8..].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
            set(labels, target.to_owned(), (number % rule.modulus).to_string());
        }
        Action::LabelMap => {
            let mapped: Vec<_> = labels
                .iter()
                .filter_map(|(name, value)| {
                    let groups = regex.captures(name)?;
                    Some((expand(&rule.replacement, &groups), value.clone()))
                })
                .collect();
            mapped.into_iter().for_each(|(name, value)| set(labels, name, value));
        }
        Action::LabelDrop => labels.retain(|name, _| !regex.is_match(name)),
        Action::LabelKeep => labels.retain(|name, _| regex.is_match(name)),
        Action::Lowercase => set(labels, target.to_owned(), value.to_lowercase()),
        Action::Uppercase => set(labels, target.to_owned(), value.to_uppercase()),
    }
    true
}

fn set(labels: &mut BTreeMap<String, String>, name: String, value: String) {
    if value.is_empty() {
        labels.remove(&name);
    } else if !name.is_empty() {
        labels.insert(name, value);
    }
}
