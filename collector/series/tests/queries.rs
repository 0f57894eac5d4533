//! Whatever is asked, the engine answers or refuses: it never panics, reads and holds no more than it may, and ends when
//! it is told to.
//!
//! Queries are those of the generator that the test against Prometheus uses, and the same with random pieces cut out,
//! doubled and swapped: most of them are nonsense, some are worse.

mod generate;

use std::cell::Cell;

use generate::{END_MS, Generator, JOBS, START_MS};
use proptest::{prelude::*, test_runner::TestRunner};
use watchkeep_series::{
    Histogram, HistogramSample, Labels, Points, Sample,
    promql::{Engine, EngineOptions, EvalError, Expr, MemorySeries},
    stale_nan,
};

/// Floats, histograms of all kinds and both in one series, under the generator's names.
fn source() -> MemorySeries {
    let mut memory = MemorySeries::new();
    let names =
        ["requests_total", "temperature", "up", "limit", "flat", "odd", "latency_seconds_bucket"];
    let shapes = [
        "{{count:4 sum:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 2]}}",
        "{{schema:3 count:7 sum:NaN buckets:[1 2 1] n_buckets:[1]}}",
        "{{schema:-53 count:4 sum:5 custom_values:[5 10] buckets:[1 2 1]}}",
        "{{schema:-53 count:3 sum:5 custom_values:[2 5] buckets:[0 1 2] counter_reset_hint:gauge}}",
        "{{count:Inf sum:-Inf buckets:[1e308 1e308]}}",
        "{{schema:-4 count:-3 sum:0 offset:-1000 buckets:[-1 -2]}}",
        "{{}}",
    ];
    let shapes = shapes.map(|text| std::sync::Arc::new(Histogram::parse(text).expect(text)));
    let specials =
        [0.0, -1.0, 1e308, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, stale_nan(), 5e-324];
    let steps = (END_MS - START_MS) / 30_000;
    for (number, name) in (0_i64..).zip(names) {
        for (kind, job) in (0_i64..).zip(JOBS) {
            let le = ["0.1", "1", "+Inf"][kind as usize];
            let labels =
                [("__name__", name), ("job", job), ("instance", "0"), ("le", le), ("kind", le)];
            let mut points = Points { labels: Labels::new(labels), ..Points::default() };
            for step in 0..steps {
                let timestamp_ms = START_MS + step * 30_000;
                let at = (step / 7 + number) as usize;
                if (step / 20 + kind) % 3 == 0 {
                    let value = shapes[at % shapes.len()].clone();
                    points.histograms.push(HistogramSample { timestamp_ms, value });
                } else {
                    let value =
                        if step % 3 == 0 { specials[at % specials.len()] } else { step as f64 };
                    points.floats.push(Sample { timestamp_ms, value });
                }
            }
            memory.insert(points);
        }
    }
    memory
}

/// A query with pieces cut out, doubled and put elsewhere.
fn mangled(text: &str, cuts: &[(prop::sample::Index, u8, u8)]) -> String {
    let pieces = [
        "",
        " ",
        "(",
        ")",
        "[5m]",
        "[1s:1s]",
        "[2y:1ms]",
        "-",
        "^ 1e9",
        "offset 1000000y",
        "@ 1e30",
        "\"\\xff\"",
        "{",
        "}",
        ",",
        "by (x)",
        "0x",
        "{{count:1}}",
        "bool",
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for (index, length, piece) in cuts {
        let from = index.index(chars.len() + 1).min(chars.len());
        let to = (from + usize::from(*length) % 9).min(chars.len());
        let cut: Vec<char> = chars.drain(from..to).collect();
        let piece = usize::from(*piece) % (pieces.len() + 1);
        match pieces.get(piece) {
            Some(piece) => chars.splice(from..from, piece.chars()).for_each(drop),
            None => chars.extend(cut),
        }
    }
    chars.into_iter().collect()
}

/// Evaluates it in every way; how often `stop` was asked is bounded by what may be read.
fn evaluate(
    engine: &Engine,
    memory: &MemorySeries,
    text: &str,
    at_ms: i64,
    range: Option<(i64, i64)>,
) {
    let Ok(expr) = Expr::parse(text) else { return };
    let again = Expr::parse(&expr.to_string());
    assert!(again.is_ok(), "{text} is written as {expr}, which cannot be read: {again:?}");
    let _ = engine.instant(memory, &expr, at_ms, &|| false);
    let (from_ms, step_ms) = range.unwrap_or((at_ms - 600_000, 60_000));
    let all = engine.range(memory, &expr, from_ms, at_ms, step_ms, &|| false);
    let asked = Cell::new(0_u32);
    let stop_at = |count: u32| {
        asked.set(0);
        engine.range(memory, &expr, from_ms, at_ms, step_ms, &|| {
            asked.set(asked.get() + 1);
            asked.get() > count
        })
    };
    for count in [0, 1, 5] {
        let stopped = stop_at(count);
        let is_stopped = matches!(stopped, Err(EvalError::Stopped));
        // What ends before it is asked again does not have to stop, but then it ends as it would have.
        assert!(is_stopped || asked.get() <= count + 1, "{text}: asked {} times", asked.get());
        assert!(is_stopped || stopped.is_err() == all.is_err(), "{text}");
    }
}

/// Cases of each property; the source is made once for all of them.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(&MemorySeries, S::Value)) {
    let memory = source();
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(strategy, |value| {
        property(&memory, value);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn any_query_is_answered_or_refused() {
    let cut = (any::<prop::sample::Index>(), any::<u8>(), any::<u8>());
    let samples_max = 200_000;
    let options = EngineOptions { experimental: true, samples_max, ..EngineOptions::default() };
    let engine = Engine::new(options);
    check(4_000, &(any::<u64>(), prop::collection::vec(cut, 0..4)), |memory, (seed, cuts)| {
        let query = Generator::seeded(seed).query();
        let text = mangled(&query.text, &cuts);
        evaluate(&engine, memory, &text, query.at_ms, query.range);
    });
}

#[test]
fn any_text_is_refused_at_worst() {
    let engine = Engine::default();
    check(4_000, &"[a-z_(){}\\[\\]0-9:,.@=~!<>/+*^% \"'-]{0,40}", |memory, text| {
        evaluate(&engine, memory, &text, END_MS, None);
    });
}

/// No query reads more samples than it may: with a lower limit it is refused, whatever it does with them.
#[test]
fn samples_max_holds() {
    let memory = source();
    let all = Engine::new(EngineOptions { experimental: true, ..EngineOptions::default() });
    let few = EngineOptions { samples_max: 20, ..all.options().clone() };
    let few = Engine::new(few);
    let mut refused = 0;
    for seed in 0..600 {
        let query = Generator::seeded(seed).query();
        let Ok(expr) = Expr::parse(&query.text) else { continue };
        let at_ms = query.at_ms;
        let Ok(answer) = all.instant(&memory, &expr, at_ms, &|| false) else { continue };
        match few.instant(&memory, &expr, at_ms, &|| false) {
            Ok(_) => {
                assert!(answer.samples_read <= 20, "{query}: {} samples", answer.samples_read)
            }
            Err(EvalError::SamplesMax(_)) => refused += 1,
            Err(other) => panic!("{query}: {other}"),
        }
    }
    assert!(refused > 50, "only {refused} queries were refused");
}
