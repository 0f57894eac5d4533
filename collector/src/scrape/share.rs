//! Which collector fetches a target: one of those that are alive, by rendezvous hashing. When one joins or leaves, only
//! targets that it wins or held move. Pure.

use std::collections::BTreeSet;

use watchkeep_catalog::{client::Change, keys};

use crate::schedule;

/// The collectors that are alive.
#[derive(Debug, Default)]
pub(super) struct Collectors(BTreeSet<String>);

impl Collectors {
    /// Follows the catalog; true when the set has changed.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        let id = |key: &str| key.strip_prefix(keys::COLLECTORS).unwrap_or(key).to_owned();
        match change {
            Change::Put(kv) => self.0.insert(id(&kv.key)),
            Change::Delete { key, .. } => self.0.remove(&id(key)),
            Change::Reset(kvs, _) => {
                let now: BTreeSet<_> = kvs.iter().map(|kv| id(&kv.key)).collect();
                std::mem::replace(&mut self.0, now) != self.0
            }
        }
    }

    /// Whose the target is; none while nobody is known to be alive.
    pub(super) fn owner(&self, target: &str) -> Option<&str> {
        let rank = |id: &&String| (schedule::hash([id.as_str(), target]), (*id).clone());
        self.0.iter().max_by_key(rank).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_to_move_moves() {
        let of = |ids: &[&str]| Collectors(ids.iter().map(|id| (*id).to_owned()).collect());
        let (three, two) = (of(&["a", "b", "c"]), of(&["a", "b"]));
        let mut counts = [0; 3];
        for n in 0..3000 {
            let target = format!("job/service/{n}");
            let owner = three.owner(&target).expect("somebody");
            counts[usize::from(owner.as_bytes()[0] - b'a')] += 1;
            if owner != "c" {
                assert_eq!(two.owner(&target), Some(owner));
            }
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
        assert_eq!(of(&[]).owner("x"), None);
    }

    #[test]
    fn the_catalog_is_followed() {
        let mut all = Collectors::default();
        let kv = |id: &str| watchkeep_catalog::KeyValue {
            key: keys::collector(id),
            value: "{}".into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        };
        assert!(all.apply(&Change::Put(kv("a"))) && !all.apply(&Change::Put(kv("a"))));
        assert!(all.apply(&Change::Reset(vec![kv("b")], 2)));
        assert!(!all.apply(&Change::Reset(vec![kv("b")], 3)));
        assert_eq!(all.owner("x"), Some("b"));
        assert!(all.apply(&Change::Delete { key: keys::collector("b"), revision: 4 }));
        assert_eq!(all.owner("x"), None);
    }
}
