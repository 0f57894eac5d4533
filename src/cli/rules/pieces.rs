//! Rule files and unit-test files of pieces of real ones, in any order: read, judged and evaluated, none makes it panic.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use watchkeep_alerting::{
    rule::{Environment, GroupState, Labels, evaluate, parse_file},
    template::Site,
};

use super::{
    shape::{Millis, TestFile},
    suite::{self, Suite},
    test::run_case,
};
use crate::rules::PromQl;

const RULES: [&str; 4] = [
    include_str!("../../../alerting/rules/watchkeep.yml"),
    include_str!("../../../tests/data/rules/03-templates.rules.yml"),
    include_str!("../../../tests/data/rules/07-keep-firing.rules.yml"),
    include_str!("../../../tests/data/rules/12-nasty.rules.yml"),
];
const TESTS: [&str; 4] = [
    include_str!("../../../tests/data/rules/03-templates.test.yml"),
    include_str!("../../../tests/data/rules/06-histogram.test.yml"),
    include_str!("../../../tests/data/rules/12-nasty.test.yml"),
    include_str!("../../../tests/data/rules3/01-later.test.yml"),
];
const PROMQL: PromQl = PromQl { experimental: true };

/// Whole rules, or lines of them; with a character changed now and then.
fn text(files: &'static [&'static str]) -> impl Strategy<Value = String> {
    let lines: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
    let count = lines.len();
    let run = (0..count, 1..25_usize)
        .prop_map(move |(from, n)| lines[from..(from + n).min(count)].join("\n"));
    let changes = vec((any::<prop::sample::Index>(), any::<char>()), 0..3);
    (0..files.len(), vec(run, 0..4), changes, any::<bool>()).prop_map(
        move |(at, runs, changes, whole)| {
            let text = if whole { files[at].to_owned() } else { format!("{}\n", runs.join("\n")) };
            let mut characters: Vec<char> = text.chars().collect();
            for (at, character) in changes {
                let at = at.index(characters.len());
                characters[at] = character;
            }
            characters.into_iter().collect()
        },
    )
}

/// Evaluates what is read, over a few series.
fn rules(text: &str) {
    let Ok(groups) = parse_file("r.yml", text, Duration::from_mins(1), &PROMQL) else { return };
    let suite = Arc::new(Suite::new(PROMQL));
    let series =
        |series: &str| suite::series(series, "1 2 stale 4", (0, 30_000)).expect("a series");
    let names = ["up{job=\"a\"}", "node_filesystem_avail_bytes{device=\"/dev/sda1\"}"];
    suite.arrive(&mut names.map(series), 120_000);
    let environment = Environment {
        ask: Arc::<Suite>::clone(&suite),
        external_labels: Labels::new(),
        site: Site::default(),
        query_offset: Duration::ZERO,
    };
    for group in &groups {
        let mut state = GroupState::new(group);
        for now in [60_000, 120_000] {
            for at in 0..group.rules.len() {
                evaluate(group, at, &mut state, now, &environment, &*suite);
            }
        }
    }
}

/// Runs the tests that are read, without rules, where they are short.
fn unit_tests(text: &str) {
    let Ok(file) = serde_saphyr::from_str::<TestFile>(text) else { return };
    for case in &file.tests {
        let ends = case.promql_expr_test.iter().map(|test| test.eval_time);
        let ends = ends.chain(case.alert_rule_test.iter().map(|test| test.eval_time));
        if ends.max() < Some(Millis(86_400_000)) {
            let _ = run_case(case, &[], (Millis(60_000), file.fuzzy_compare), PROMQL);
        }
    }
}

#[test]
fn whole_files_are_read() {
    for text in RULES {
        assert!(parse_file("r.yml", text, Duration::from_mins(1), &PROMQL).is_ok());
        rules(text);
    }
    for text in TESTS {
        assert!(!serde_saphyr::from_str::<TestFile>(text).expect("a test file").tests.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_rule_files_do_not_panic(text in text(&RULES)) {
        rules(&text);
    }

    #[test]
    fn pieces_of_unit_tests_do_not_panic(text in text(&TESTS)) {
        unit_tests(&text);
    }
}
