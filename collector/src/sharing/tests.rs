//! Sharing: what rendezvous hashing promises, and how members come and go.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn target(n: usize) -> TargetId {
    TargetId::new("web", &format!("web-{n}"), "http")
}

fn member(id: &str, zone: &str) -> KeyValue {
    let record = format!(r#"{{"id":"{id}","zone":"{zone}","started_at":"2026-01-01T00:00:00Z"}}"#);
    KeyValue {
        key: keys::collector(id),
        value: record.into(),
        create_revision: 1,
        mod_revision: 1,
        version: 1,
        lease: 1,
    }
}

/// As the collector `me` sees these members.
fn seen_by(me: &str, members: &BTreeMap<String, String>, vantage_points: usize) -> Sharing {
    let zone = members.get(me).map_or("", String::as_str);
    let mut sharing = Sharing::new(me, zone, vantage_points);
    let kvs = members.iter().map(|(id, zone)| member(id, zone)).collect();
    sharing.apply(Change::Reset(kvs, 1));
    sharing
}

fn owners(members: &BTreeMap<String, String>, n: usize, vantage_points: usize) -> BTreeSet<String> {
    let me = members.keys().next().expect("a member");
    let sharing = seen_by(me, members, vantage_points);
    sharing.owners(&target(n)).into_iter().map(str::to_owned).collect()
}

fn members() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,6}", "[a-d]", 1..9)
}

proptest! {
    #[test]
    fn as_many_owners_as_vantage_points_in_as_many_zones_as_there_are(
        members in members(), n in 0_usize..1_000, vantage_points in 1_usize..6,
    ) {
        let found = owners(&members, n, vantage_points);
        prop_assert_eq!(found.len(), vantage_points.min(members.len()));
        let zones: BTreeSet<_> = members.values().collect();
        let in_zones: BTreeSet<_> = found.iter().map(|id| &members[id]).collect();
        prop_assert_eq!(in_zones.len(), vantage_points.min(zones.len()));
    }

    #[test]
    fn all_come_to_the_same_owners(members in members(), n in 0_usize..1_000) {
        let expected = owners(&members, n, 3);
        for me in members.keys() {
            let sharing = seen_by(me, &members, 3);
            let found: BTreeSet<_> = sharing.owners(&target(n)).into_iter().map(str::to_owned).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(sharing.is_mine(&target(n)), expected.contains(me));
        }
    }

    /// Whoever goes hands on what it owned to one other, and nothing else moves; seen backwards, whoever comes takes the
    /// place of one owner at most.
    #[test]
    fn movement_is_minimal(members in members(), n in 0_usize..1_000, gone in any::<prop::sample::Index>()) {
        prop_assume!(members.len() > 1);
        let gone = gone.get(&members.keys().cloned().collect::<Vec<_>>()).clone();
        let before = owners(&members, n, 3);
        let mut left = members.clone();
        left.remove(&gone);
        let after = owners(&left, n, 3);
        let stayed: BTreeSet<_> = before.iter().filter(|id| **id != gone).cloned().collect();
        prop_assert!(stayed.is_subset(&after), "{before:?} without {gone}: {after:?}");
        if !before.contains(&gone) {
            prop_assert_eq!(before, after);
        }
    }
}

#[test]
fn shares_are_even_and_whoever_joins_takes_no_more_than_its_share() {
    let zones = ["a", "b", "c"];
    let mut members: BTreeMap<String, String> =
        (0..6).map(|n| (format!("node-{n}"), zones[n % 3].to_owned())).collect();
    let count = |members: &BTreeMap<String, String>| {
        let mut shares = BTreeMap::<String, usize>::new();
        for n in 0..10_000 {
            for owner in owners(members, n, 3) {
                *shares.entry(owner).or_default() += 1;
            }
        }
        shares
    };
    // 30,000 places for six: 5,000 each, since each zone has two.
    let shares = count(&members);
    assert!(shares.values().all(|share| (4_800..5_200).contains(share)), "{shares:?}");
    members.insert("node-6".into(), "a".into());
    let shares = count(&members);
    assert!((3_100..3_600).contains(&shares["node-6"]), "a third of its zone: {shares:?}");
    assert!((4_800..5_200).contains(&shares["node-1"]), "zone b is as it was: {shares:?}");
}

#[test]
fn members_come_and_go() {
    let mut sharing = Sharing::new("me", "a", 1);
    assert!(!sharing.is_known());
    assert!(sharing.apply(Change::Reset(vec![], 1)), "now it is known who is there");
    assert!(!sharing.apply(Change::Reset(vec![member("me", "elsewhere")], 2)));
    assert_eq!((sharing.is_known(), sharing.members()), (true, 1));
    assert!(sharing.apply(Change::Put(member("you", "b"))));
    assert!(!sharing.apply(Change::Put(member("you", "b"))), "written again under a new lease");
    assert!(sharing.apply(Change::Put(member("you", "a"))), "in another zone");
    let mine = (0..1_000).filter(|n| sharing.is_mine(&target(*n))).count();
    assert!((400..600).contains(&mine), "{mine}");
    let unreadable = KeyValue { value: "{".into(), ..member("you", "a") };
    assert!(sharing.apply(Change::Put(unreadable)), "it has no share");
    assert!(!sharing.apply(Change::Delete { key: keys::collector("you"), revision: 3 }));
    assert!(!sharing.apply(Change::Delete { key: keys::collector("me"), revision: 4 }));
    assert!((0..100).all(|n| sharing.is_mine(&target(n))), "alone");
}

/// What only one may do: somebody does it as long as anybody has a lease, and without its own nobody does.
#[test]
fn without_its_lease_a_collector_does_nothing_that_only_one_may_do() {
    let mut sharing = Sharing::of_one("a");
    assert!(!sharing.owns(1) && sharing.members() == 0);
    assert!(sharing.apply(Change::Reset(vec![], 1)), "now it is known");
    assert!(!sharing.owns(1));
    assert!(sharing.apply(Change::Put(member("a", ""))), "its own lease has come");
    assert!(!sharing.apply(Change::Put(member("a", ""))) && sharing.owns(1));
    assert!(sharing.apply(Change::Put(member("b", ""))));
    let mut other = Sharing::of_one("b");
    other.apply(Change::Reset(vec![member("a", ""), member("b", "")], 3));
    let mine = (0..1_000).filter(|n| sharing.owns(*n)).count();
    assert!((400..600).contains(&mine), "{mine}");
    assert!((0..1_000).all(|n| sharing.owns(n) != other.owns(n)));
    assert!(sharing.apply(Change::Delete { key: keys::collector("a"), revision: 4 }));
    assert!((0..1_000).all(|n| !sharing.owns(n)));
}
