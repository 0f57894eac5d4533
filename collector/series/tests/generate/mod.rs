//! Random PromQL from a seed: the same seed, the same query. Shared by the test against Prometheus and by the one of
//! limits.
//!
//! Queries are such that both sides must agree to the last digits: what jumps (`floor`, `==`, `count_values`, …) is only
//! asked of values that are exact, what picks one of several equals only at the top, and no window ends where a sample
//! or a step lies.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::fmt;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

mod range;
mod vector;

/// When the first samples are: a whole minute.
pub const START_MS: i64 = 1_700_000_040_000;
/// When the last ones are, 50 minutes later.
pub const END_MS: i64 = START_MS + 3_000_000;
/// Values of the label `job`.
pub const JOBS: [&str; 3] = ["api", "web", "db"];

/// A query and when it is asked.
#[derive(Debug, Clone)]
pub struct Query {
    pub text: String,
    /// The time, or of a range query the end.
    pub at_ms: i64,
    /// Start and step of a range query.
    pub range: Option<(i64, i64)>,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, at_ms, range } = self;
        match range {
            None => write!(f, "{text} at {at_ms}"),
            Some((from_ms, step_ms)) => {
                write!(f, "{text} from {from_ms} to {at_ms} step {step_ms}")
            }
        }
    }
}

/// Makes queries.
pub struct Generator {
    rng: StdRng,
}

impl Generator {
    pub fn seeded(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// The query of this seed.
    pub fn query(&mut self) -> Query {
        let text = match self.below(14) {
            0 => self.scalar(2),
            1 => self.picking(),
            2 => self.native(),
            _ => self.vector(3),
        };
        let at_ms = START_MS + 1_500_000 + self.rng.random_range(0..140) * 10_000 + 7_000;
        let range = self.chance(0.3).then(|| {
            let step_ms = self.one_of(&[10_000, 30_000, 60_000, 90_000]);
            (at_ms - self.rng.random_range(0..20) * step_ms, step_ms)
        });
        Query { text, at_ms, range }
    }

    /// What picks or orders; only at the top.
    fn picking(&mut self) -> String {
        let vector = self.exact(1);
        match self.below(4) {
            0 => format!("sort({vector})"),
            1 => format!("sort_desc({vector})"),
            _ => {
                let name = self.one_of(&["topk", "bottomk"]);
                let by = self.grouping();
                format!("{name}{by} ({}, {vector})", self.below(4))
            }
        }
    }

    /// Of native histograms, as far as 2.42 has them.
    fn native(&mut self) -> String {
        let matcher = self.one_of(&["", "{job=\"api\"}", "{job!=\"db\"}"]);
        let offset = self.offset();
        let window = match self.below(4) {
            0 => format!("native{matcher}{offset}"),
            1 => format!("increase(native{matcher}[{}]{offset})", self.duration()),
            _ => format!("rate(native{matcher}[{}]{offset})", self.duration()),
        };
        let all = match self.below(3) {
            0 => window,
            1 => format!("sum({window})"),
            _ => format!("sum by (job) ({window})"),
        };
        match self.below(5) {
            0 => format!("histogram_count({all})"),
            1 => format!("histogram_sum({all})"),
            2 => format!("{all} + {all}"),
            _ => all,
        }
    }

    /// A number.
    fn scalar(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.number();
        }
        match self.below(8) {
            0 => "time()".to_owned(),
            1 => "pi()".to_owned(),
            2 => format!("scalar({})", self.vector(depth - 1)),
            3 | 4 => {
                let op =
                    self.one_of(&["+", "-", "*", "/", "^", "%", "< bool", "== bool", ">= bool"]);
                format!("({} {op} {})", self.number(), self.scalar(depth - 1))
            }
            5 => format!("-{}", self.number()),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> String {
        self.one_of(&["0", "1", "2", "0.5", "-1", "3", "10", "1e3", "0x1F", "100", "Inf", "NaN"])
            .to_owned()
    }

    /// Not 0, infinite or NaN.
    fn small(&mut self) -> &'static str {
        self.one_of(&["1", "2", "0.5", "4", "8", "-1", "3"])
    }

    fn duration(&mut self) -> &'static str {
        self.one_of(&["30s", "1m", "90s", "2m", "5m", "10m", "1m10s", "200s"])
    }

    fn offset(&mut self) -> String {
        match self.below(10) {
            0 => format!(" offset {}", self.duration()),
            1 => format!(" offset -{}", self.duration()),
            2 => {
                let second = (START_MS + 600_000) / 1_000 + 3 + self.rng.random_range(0..200) * 10;
                format!(" @ {second}")
            }
            3 if self.chance(0.5) => self.one_of(&[" @ start()", " @ end()"]).to_owned(),
            _ => String::new(),
        }
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        *items.choose(&mut self.rng).expect("not empty")
    }

    fn below(&mut self, end: u32) -> u32 {
        self.rng.random_range(0..end)
    }

    fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }
}
