//! PromQL against a real Prometheus: the same samples in both (and in the series store, which is asked a part of them),
//! thousands of generated queries, results equal within 1e-9 relative, apart from the differences between its version and version 3 that `differences.rs` and
//! docs/promql.md list.
//!
//! Needs `prometheus` (apt package `prometheus`, 2.42). A failure prints the query, both answers and the seed.
//! `WATCHKEEP_SEED` is the first query's seed (default: 1; another asks other queries), `WATCHKEEP_QUERIES` says how many there are.
//!
//! Windows of 2.42 hold both their ends, those of version 3 only the later one. So that this does not make everything
//! unequal, no sample and no step of a subquery lies exactly at such an end: samples are never at a whole second, queries
//! always are; a query's times end in 7 s, `@` times in 3 s, and every duration is a multiple of 10 s.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a real Prometheus needs a port, and has to be waited for"
)]

#[path = "../generate/mod.rs"]
mod generate;

mod compare;
mod data;
mod differences;
mod prometheus;
mod request;

use std::{collections::BTreeMap, env, path::Path, process::Command};

use compare::Agreement;
use generate::{END_MS, Generator, Query};
use prometheus::Prometheus;
use watchkeep_series::{
    Incoming, Options, Points, Queryable, SeriesStore,
    promql::{Answer, Engine, EngineOptions, Expr, MemorySeries},
};

/// About 20 s in a debug build.
const QUERIES: u64 = 3_000;
/// Every so many queries are asked of the series store, too.
const STORE_EVERY: u64 = 4;
/// Disagreements that are printed.
const SHOWN_MAX: usize = 12;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a whole number")))
}

#[test]
fn every_query_is_answered_as_prometheus_answers_it() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        assert!(env::var_os("CI").is_none(), "prometheus is missing: apt-get install prometheus");
        println!("skipped: prometheus is not installed (apt-get install prometheus)");
        return;
    }
    let first = setting("WATCHKEEP_SEED").unwrap_or(1);
    let count = setting("WATCHKEEP_QUERIES").unwrap_or(QUERIES);
    println!("WATCHKEEP_SEED={first} WATCHKEEP_QUERIES={count}");
    let series = data::series();
    let prometheus = Prometheus::with(&series);
    let dir = tempfile::tempdir().expect("a folder");
    let store = stored(dir.path(), &series);
    let mut memory = MemorySeries::new();
    series.into_iter().for_each(|points| memory.insert(points));
    let engine = Engine::new(EngineOptions { experimental: true, ..EngineOptions::default() });

    let mut tally = Tally::default();
    for seed in first..first + count {
        let query = Generator::seeded(seed).query();
        let theirs = prometheus.ask(&query);
        let ours = ask(&engine, &memory, &query);
        if seed % STORE_EVERY == 0 {
            let stored = ask(&engine, &store, &query);
            if said(&stored) != said(&ours) {
                tally
                    .wrong
                    .push(format!("seed {seed}: {query}\n    the store: {stored:?} not {ours:?}"));
            }
        }
        match compare::same(&query, &ours, &theirs) {
            Ok(agreement) => *tally.equal.entry(agreement).or_default() += 1,
            Err(why) => match differences::known(&query, &ours, &theirs, &why) {
                Some(known) => *tally.known.entry(known).or_default() += 1,
                None => tally.wrong.push(format!("seed {seed}: {query}\n    {why}")),
            },
        }
    }
    println!("equal: {:?}; known to differ: {:?}", tally.equal, tally.known);
    let shown = &tally.wrong[..tally.wrong.len().min(SHOWN_MAX)];
    assert!(shown.is_empty(), "{} answers differ:\n{}", tally.wrong.len(), shown.join("\n"));
    // Refusals and empty answers show little.
    let share = |agreement| tally.equal.get(&agreement).map_or(0.0, |n| *n as f64 / count as f64);
    assert!(share(Agreement::Floats) > 0.6, "too few queries have an answer");
    assert!(share(Agreement::Histograms) > 0.02, "too few answers are histograms");
}

#[derive(Default)]
struct Tally {
    equal: BTreeMap<Agreement, u64>,
    known: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

/// The same samples in a series store, some on disk and some not yet.
fn stored(dir: &Path, series: &[Points]) -> SeriesStore {
    let store = SeriesStore::open(dir, Options::default()).expect("a store");
    for (number, points) in series.iter().enumerate() {
        let labels: Vec<_> = points.labels.iter().collect();
        let (samples, histograms) = (&points.floats[..], &points.histograms[..]);
        let incoming = Incoming { labels: &labels, samples, histograms };
        store.append_series(std::iter::once(incoming), END_MS).expect("taken");
        if number % 2 == 0 {
            store.flush().expect("on disk");
        }
    }
    store
}

/// What an answer says; NaN is NaN.
fn said(answer: &Result<Answer, String>) -> String {
    match answer {
        Ok(Answer { value, warnings, infos, .. }) => format!("{value:?} {warnings:?} {infos:?}"),
        Err(error) => error.clone(),
    }
}

fn ask(engine: &Engine, source: &dyn Queryable, query: &Query) -> Result<Answer, String> {
    let expr = Expr::parse(&query.text).map_err(|e| e.to_string())?;
    let answer = match query.range {
        None => engine.instant(source, &expr, query.at_ms, &|| false),
        Some((from_ms, step_ms)) => {
            engine.range(source, &expr, from_ms, query.at_ms, step_ms, &|| false)
        }
    };
    answer.map_err(|e| e.to_string())
}
