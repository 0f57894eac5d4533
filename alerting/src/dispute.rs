//! Collectors that contradict each other: where, and who stands alone. Pure.
//!
//! One that sees what the others do not see has a bad network, or is the only one with a good one. Either way somebody
//! should look; nothing is failed over for it.

use std::collections::{BTreeMap, HashMap};

use watchkeep_catalog::Status;

use crate::mirror::Target;

/// Services and collectors that are named in metrics; beyond it they are counted together as [`OTHERS`].
const NAMES_MAX: usize = 500;
/// The label of those that are too many.
const OTHERS: &str = "_others";

/// An opinion as far as it matters here: check, collector, belief.
pub(crate) type Voice<'a> = (&'a str, &'a str, Status);

/// The collectors that are outvoted on some check, each as often as it is; of a tie, all. Empty: they agree.
pub(crate) fn outvoted(voices: &[Voice<'_>]) -> Vec<String> {
    let mut checks: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
    for (check, collector, status) in voices {
        let sides = checks.entry(check).or_default();
        sides[usize::from(*status == Status::Critical)].push(collector);
    }
    let mut outvoted = Vec::new();
    for [passing, critical] in checks.into_values() {
        if passing.is_empty() || critical.is_empty() {
            continue;
        }
        for (mine, others) in [(&passing, &critical), (&critical, &passing)] {
            if mine.len() <= others.len() {
                outvoted.extend(mine.iter().map(|collector| (*collector).to_owned()));
            }
        }
    }
    outvoted.sort();
    outvoted
}

/// How often each name occurs, without those that do not.
#[derive(Debug, Default)]
struct Counts(BTreeMap<String, i64>);

impl Counts {
    fn add(&mut self, name: &str, by: i64) {
        let count = self.0.entry(name.to_owned()).or_default();
        *count += by;
        if *count == 0 {
            self.0.remove(name);
        }
    }

    /// With no more than [`NAMES_MAX`] names and [`OTHERS`].
    fn bounded(&self) -> BTreeMap<&str, i64> {
        let mut bounded = BTreeMap::new();
        for (at, (name, count)) in self.0.iter().enumerate() {
            let name = if at < NAMES_MAX { name } else { OTHERS };
            *bounded.entry(name).or_default() += count;
        }
        bounded
    }
}

/// All disputes there are.
#[derive(Debug, Default)]
pub(crate) struct Disputes {
    by_target: HashMap<Target, Vec<String>>,
    services: Counts,
    collectors: Counts,
}

impl Disputes {
    /// What is so of one instance from now on; true when it was otherwise.
    pub(crate) fn set(&mut self, target: &Target, outvoted: Vec<String>) -> bool {
        let before = self.by_target.remove(target).unwrap_or_default();
        let changed = before != outvoted;
        for (names, by) in [(&before, -1), (&outvoted, 1)] {
            if !names.is_empty() {
                self.services.add(&target.service, by);
            }
            names.iter().for_each(|collector| self.collectors.add(collector, by));
        }
        if !outvoted.is_empty() {
            self.by_target.insert(target.clone(), outvoted);
        }
        changed
    }

    /// Instances in dispute, by service.
    pub(crate) fn services(&self) -> BTreeMap<&str, i64> {
        self.services.bounded()
    }

    /// Checks on which a collector is outvoted, by collector.
    pub(crate) fn collectors(&self) -> BTreeMap<&str, i64> {
        self.collectors.bounded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_outvoted() {
        // `http: a=c b=p`: check, then collector and belief.
        for (said, expected) in [
            ("", ""),
            ("http: a=c b=c", ""),
            ("http: a=c b=p c=p", "a"),
            ("http: a=c b=c c=p", "c"),
            ("http: a=c b=p", "a b"),
            ("http: a=c b=p c=p tcp: a=c b=p c=p", "a a"),
        ] {
            let (mut check, mut voices) = ("", Vec::new());
            for word in said.split_whitespace() {
                match word.split_once('=') {
                    None => check = word,
                    Some((collector, belief)) => {
                        let critical = belief == "c";
                        let status = if critical { Status::Critical } else { Status::Passing };
                        voices.push((check, collector, status));
                    }
                }
            }
            assert_eq!(outvoted(&voices).join(" "), expected, "{said}");
        }
    }

    #[test]
    fn counts_are_bounded_and_go_back_to_nothing() {
        let mut disputes = Disputes::default();
        let target = |at: usize| Target::new(&format!("web-{at:04}"), "one");
        for at in 0..NAMES_MAX + 7 {
            assert!(disputes.set(&target(at), vec!["a".to_owned()]));
        }
        assert!(!disputes.set(&target(0), vec!["a".to_owned()]));
        assert_eq!(disputes.services().len(), NAMES_MAX + 1);
        assert_eq!(disputes.services()[OTHERS], 7);
        assert_eq!(disputes.collectors()["a"], 507);
        for at in 0..NAMES_MAX + 7 {
            disputes.set(&target(at), Vec::new());
        }
        assert!(disputes.services().is_empty() && disputes.collectors().is_empty());
    }
}
