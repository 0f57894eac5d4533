//! The shapes of a rule file, as YAML has them. What they mean is [`super::judge`]'s.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    #[serde(default)]
    pub(super) groups: Option<Vec<Spanned<GroupShape>>>,
}

/// A group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupShape {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) interval: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) query_offset: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) limit: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, Spanned<String>>>,
    #[serde(default)]
    pub(super) rules: Option<Vec<Spanned<RuleShape>>>,
}

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleShape {
    #[serde(default)]
    pub(super) record: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) alert: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) expr: Option<Spanned<String>>,
    #[serde(default, rename = "for")]
    pub(super) hold: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, Spanned<String>>>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, Spanned<String>>>,
}
