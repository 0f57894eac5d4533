//! Hashes are equal however far a member's compaction is, and differ when one byte does.

use super::*;

/// Every step over all keys: what a round of the corruption check compares.
fn round(memory: &Memory, revision: i64, limits: Limits) -> Vec<(Option<Bytes>, u32)> {
    let (mut from, mut found) = (Bytes::new(), Vec::new());
    loop {
        let keys = hash_keys(memory, &from, None, revision, limits).unwrap();
        found.push((keys.next.clone(), keys.hash));
        match keys.next {
            Some(next) => from = next,
            None => return found,
        }
    }
}

/// The same steps as a member that is asked takes them.
fn answers(memory: &Memory, revision: i64, steps: &[(Option<Bytes>, u32)]) -> Vec<u32> {
    let mut from = Bytes::new();
    steps
        .iter()
        .map(|(to, _)| {
            let keys = hash_keys(memory, &from, to.as_deref(), revision, Limits::NONE).unwrap();
            from = to.clone().unwrap_or_default();
            keys.hash
        })
        .collect()
}

proptest! {
    #[test]
    fn compaction_under_way_and_later_writes_do_not_change_a_hash(
        actions in prop::collection::vec(action(), 1..40),
        forgotten in 0..12usize,
        later in prop::collection::vec(action(), 0..10),
    ) {
        let mut memory = Memory::default();
        let mut applied = Applied { revision: 1, ..Applied::default() };
        for action in &actions {
            run(&mut memory, &mut applied, action);
        }
        let (revision, compacted) = (applied.revision, applied.compact_revision);
        let mut ahead = memory.clone();
        // Merging forgets some rows sooner than others.
        let mut left = forgotten;
        ahead.0.retain(|(table, key), _| {
            let goes = left > 0 && forgettable(*table, key, compacted);
            left -= usize::from(goes);
            !goes
        });
        prop_assert_eq!(hash_kv(&ahead, revision, compacted).unwrap(), hash_kv(&memory, revision, compacted).unwrap());
        let limits = Limits { rows: 2, bytes: u64::MAX };
        let steps = round(&memory, revision, limits);
        let hashes: Vec<u32> = steps.iter().map(|(_, hash)| *hash).collect();
        // The other has applied more already, without another compaction.
        for action in later.iter().filter(|action| !matches!(action, Action::Compact(_))) {
            run(&mut ahead, &mut applied, action);
        }
        prop_assert_eq!(hash_kv(&ahead, revision, compacted).unwrap(), hash_kv(&memory, revision, compacted).unwrap());
        prop_assert_eq!(answers(&ahead, revision, &steps), hashes);
        prop_assert_eq!(
            hash_events(&ahead, compacted, revision, Limits::NONE).unwrap(),
            hash_events(&memory, compacted, revision, Limits::NONE).unwrap()
        );
    }
}

#[test]
fn one_byte_less_is_seen() {
    let (mut memory, mut applied) =
        (Memory::default(), Applied { revision: 1, ..Applied::default() });
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")] {
        run(&mut memory, &mut applied, &Action::Put(key.into(), value.into(), 0));
    }
    let (kv, keys) =
        (hash_kv(&memory, 5, 0).unwrap(), hash_keys(&memory, b"", None, 5, Limits::NONE).unwrap());
    for ((table, key), value) in memory.0.clone() {
        let mut wrong = memory.clone();
        let at = (table, key.clone());
        match table {
            Table::Latest => wrong.0.remove(&at),
            Table::Events | Table::History => {
                let mut bytes = value.to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                wrong.0.insert(at, bytes.into())
            }
            _ => continue,
        };
        let same = hash_kv(&wrong, 5, 0).is_ok_and(|hash| hash == kv)
            && hash_keys(&wrong, b"", None, 5, Limits::NONE).is_ok_and(|hash| hash == keys);
        assert!(!same, "{table:?} {key:?}");
    }
    // A key that should not be there, and one that is not what it should be.
    for key in ["bb", "b"] {
        let mut wrong = memory.clone();
        let other = memory.0[&(Table::Latest, Bytes::from("c"))].clone();
        wrong.0.insert((Table::Latest, Bytes::from(key)), other);
        assert_ne!(hash_keys(&wrong, b"", None, 5, Limits::NONE).unwrap(), keys);
    }
}
