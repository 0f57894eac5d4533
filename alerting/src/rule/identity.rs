//! What a group, a rule and an alert are called in the registry: ids that stay the same over restarts, reloads and
//! on every node, as long as the rule means the same. Pure.

use super::model::{Group, Labels, Rule};

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let hash =
        parts.into_iter().fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, part.as_bytes()), &[0xff]));
    format!("{hash:016x}")
}

/// A set of labels in 16 digits, as Prometheus and Alertmanager make it.
#[must_use]
pub fn fingerprint(labels: &Labels) -> String {
    format!("{:016x}", watchkeep_catalog::fingerprint(labels))
}

/// A group: its name and its file's name without the directories, which differ between nodes.
#[must_use]
pub fn group_id(group: &Group) -> String {
    let file = group.file.rsplit('/').next().unwrap_or(&group.file);
    hash([file, &group.name])
}

/// A rule of a group: its name and labels, and the how manieth of these it is. Another expression or another `for`
/// makes no other rule, so a reload keeps its alerts.
#[must_use]
pub fn rule_id(group: &Group, at: usize) -> String {
    let same = |rule: &Rule| {
        let labels = rule.labels.iter().map(|(name, text)| (name.clone(), text.raw.clone()));
        (rule.name().to_owned(), labels.collect::<Vec<_>>())
    };
    let Some(rule) = group.rules.get(at) else { return String::new() };
    let wanted = same(rule);
    let earlier = group.rules[..at].iter().filter(|rule| same(rule) == wanted).count();
    let earlier = earlier.to_string();
    let labels = wanted.1.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]);
    hash([wanted.0.as_str(), &earlier].into_iter().chain(labels))
}
