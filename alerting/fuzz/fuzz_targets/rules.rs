//! Fuzzes rule files: YAML, PromQL and templates. Whatever is read is evaluated once, over nothing.

#![no_main]

use std::{sync::Arc, time::Duration};

use watchkeep_alerting::{
    rule::{
        Answered, Ask, Environment, Expressions, GroupState, Labels, Measure, Sample, Sink, evaluate,
        parse_file,
    },
    template::Site,
};
use watchkeep_series::promql::Expr;

struct PromQl;

impl Expressions for PromQl {
    fn check(&self, expr: &str) -> Result<(), String> {
        Expr::parse(expr).map(drop).map_err(|error| error.to_string())
    }
}

/// One row, whatever is asked.
struct One;

impl Ask for One {
    fn instant(&self, expr: &str, _: i64) -> Result<Vec<Answered>, String> {
        let labels = Labels::from([("expr".to_owned(), expr.to_owned())]);
        Ok(vec![Answered { labels, value: Measure::Float(1.5) }])
    }
}

impl Sink for One {
    fn write(&self, _: Vec<Sample>) -> Result<(), String> {
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(groups) = parse_file("r.yml", text, Duration::from_secs(60), &PromQl) else { return };
    let environment = Environment {
        ask: Arc::new(One),
        external_labels: Labels::new(),
        site: Site::default(),
        query_offset: Duration::ZERO,
    };
    for group in &groups {
        let mut state = GroupState::new(group);
        for at in 0..group.rules.len() {
            evaluate(group, at, &mut state, 60_000, &environment, &One);
        }
    }
});
