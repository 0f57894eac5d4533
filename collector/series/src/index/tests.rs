//! What matchers mean, against asking every series.

use proptest::prelude::*;

use super::*;

fn insert(index: &mut Index, id: Id, labels: &Labels) {
    let hash = index.hash(labels.iter());
    assert_eq!(index.find(hash, labels.iter()), None);
    index.insert(id, hash, labels.iter());
    assert_eq!(index.find(hash, labels.iter()), Some(id));
}

#[test]
fn select_and_remove() {
    let mut index = Index::default();
    for (id, service) in [(1, "web"), (2, "db"), (3, "web")] {
        let zone = format!("z{id}");
        let labels = [("__name__", "up"), ("service", service), ("zone", &zone)];
        insert(&mut index, id, &Labels::new(labels));
    }
    let equal = |name: &str, value: &str| Matcher::Equal(name.into(), value.into());
    assert_eq!(index.select(&[]), [2, 1, 3]);
    assert_eq!(index.select(&[equal("service", "web"), equal("zone", "z3")]), [3]);
    assert_eq!(index.select(&[equal("nothing", "")]), [2, 1, 3]);
    index.remove(&[3]);
    assert_eq!(index.select(&[equal("service", "web")]), [1]);
    index.remove(&[1, 2]);
    assert_eq!((index.len(), index.symbols.len(), index.table.len()), (0, 0, 0));
    assert!(index.postings.all().is_empty() && index.unranked.is_empty());
}

fn labels() -> impl Strategy<Value = Labels> {
    let value = || prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("c")];
    (value(), value(), 0..50_u32)
        .prop_map(|(a, b, n)| Labels::new([("x", a), ("y", b), ("n", &n.to_string())]))
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop_oneof![Just("x"), Just("y"), Just("n"), Just("z")];
    let text = prop_oneof![
        Just(""),
        Just("a"),
        Just("b"),
        Just("a|b"),
        Just("a|b|"),
        Just("a.*"),
        Just(".+"),
        Just(".*"),
        Just("[0-9]"),
        Just("7"),
    ];
    (name, text, 0..4).prop_map(|(name, text, kind)| match kind {
        0 => Matcher::Equal(name.into(), text.into()),
        1 => Matcher::NotEqual(name.into(), text.into()),
        2 => Matcher::regex(name, text).expect("compiles"),
        _ => Matcher::not_regex(name, text).expect("compiles"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn agrees_with_asking_every_series(
        all in prop::collection::btree_set(labels(), 0..400),
        matchers in prop::collection::vec(matcher(), 0..4),
        order in any::<prop::sample::Index>(),
        gone in 1..5_usize,
    ) {
        let mut index = Index::default();
        let sorted: Vec<_> = all.into_iter().collect();
        let mut shuffled = sorted.clone();
        if !shuffled.is_empty() {
            let at = order.index(shuffled.len());
            shuffled.rotate_left(at);
        }
        for (id, labels) in (0..).zip(&shuffled) {
            insert(&mut index, id, labels);
            if id % 300 == 299 {
                index.rank();
            }
        }
        let dead: Vec<_> = (0..shuffled.len() as Id).step_by(gone + 1).collect();
        index.remove(&dead);
        let expected: Vec<_> = sorted
            .iter()
            .filter(|labels| {
                let id = shuffled.iter().position(|other| other == *labels).unwrap_or_default();
                !dead.contains(&(id as Id)) && matchers.iter().all(|m| m.matches(labels))
            })
            .cloned()
            .collect();
        for _ in 0..2 {
            let found: Vec<_> = index
                .select(&matchers)
                .into_iter()
                .filter_map(|id| Some(index.labels(index.get(id)?)))
                .collect();
            prop_assert_eq!(&found, &expected);
            index.rank();
        }
    }
}
