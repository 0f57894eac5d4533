//! Instant vectors.

use super::{Generator, JOBS};

/// A label and values of it.
type Label = (&'static str, &'static [&'static str]);

/// Metrics, their labels, and values that some of them have.
const METRICS: [(&str, &[Label]); 8] = [
    (
        "requests_total",
        &[("job", &JOBS), ("instance", &["0", "1", "2"]), ("code", &["200", "500"])],
    ),
    ("temperature", &[("job", &JOBS), ("instance", &["0", "1", "2"])]),
    ("up", &[("job", &JOBS), ("instance", &["0", "1", "2"])]),
    ("limit", &[("job", &JOBS)]),
    ("flat", &[]),
    ("odd", &[("kind", &["late", "gone", "stale", "special", "blinking"]), ("job", &JOBS)]),
    (
        "latency_seconds_bucket",
        &[("job", &JOBS), ("instance", &["0", "1"]), ("le", &["0.1", "1", "+Inf"])],
    ),
    ("latency_seconds_count", &[("job", &JOBS), ("instance", &["0", "1"])]),
];

impl Generator {
    /// Any vector; its values may be rounded.
    pub(super) fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector();
        }
        let inner = depth - 1;
        match self.below(22) {
            0 => self.selector(),
            1 | 2 => self.exact(inner),
            3..=7 => self.over_range(),
            8..=10 => {
                let name = self
                    .one_of(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
                let by = self.grouping();
                format!("{name}{by} ({})", self.vector(inner))
            }
            11 => {
                let q = self.one_of(&["0.5", "0", "1", "0.9", "-1", "2", "0.25"]);
                format!("quantile{} ({q}, {})", self.grouping(), self.vector(inner))
            }
            12 | 13 => self.arithmetic(inner),
            14 => {
                let op = self.one_of(&["+", "-", "*", "/", "^"]);
                let (number, vector) = (self.small(), self.vector(inner));
                if self.chance(0.5) {
                    format!("{number} {op} ({vector})")
                } else {
                    format!("({vector}) {op} {number}")
                }
            }
            15 => self.mathematics(inner),
            16 => {
                let op = self.one_of(&["and", "or", "unless"]);
                let on = self.one_of(&["", " on (job)", " ignoring (instance)", " on ()"]);
                format!("({}) {op}{on} ({})", self.vector(inner), self.vector(inner))
            }
            17 => {
                let q = self.one_of(&["0.5", "0.9", "0", "1", "0.99", "-1", "1.5"]);
                let by = self.one_of(&["sum by (le, job) ", "sum by (le) ", ""]);
                let offset = self.offset();
                let range = self.duration();
                let buckets = format!("{by}(rate(latency_seconds_bucket[{range}]{offset}))");
                format!("histogram_quantile({q}, {buckets})")
            }
            18 => self.relabelled(inner),
            19 => format!("-({})", self.vector(inner)),
            20 => {
                let name = self.one_of(&["absent", "scalar"]);
                let vector = self.vector(inner);
                if name == "scalar" {
                    format!("vector(scalar({vector}))")
                } else {
                    format!("absent({vector})")
                }
            }
            _ => format!("histogram_quantile(0.8, latency_seconds_bucket{})", self.offset()),
        }
    }

    /// A vector whose values both sides know exactly.
    pub(super) fn exact(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector();
        }
        let inner = depth - 1;
        match self.below(12) {
            0 | 1 => self.selector(),
            2 => {
                let name = self.one_of(&["sum", "min", "max", "count", "group"]);
                format!("{name}{} ({})", self.grouping(), self.exact(inner))
            }
            3 => {
                let op = self
                    .one_of(&["==", "!=", ">", "<", ">=", "<=", "== bool", "> bool", "!= bool"]);
                format!("{} {op} {}", self.selector(), self.number())
            }
            4 => {
                let name = self.one_of(&["floor", "ceil", "round", "sgn", "abs"]);
                format!("{name}({})", self.exact(inner))
            }
            5 => format!("({}) % {}", self.exact(inner), self.small()),
            6 => format!("clamp({}, -2, 8)", self.exact(inner)),
            7 => format!(
                "clamp_{}({}, {})",
                self.one_of(&["min", "max"]),
                self.exact(inner),
                self.small()
            ),
            8 => format!("round({}, {})", self.exact(inner), self.one_of(&["0.5", "2", "10"])),
            9 => format!(
                "count_values{} (\"value\", {})",
                self.grouping(),
                self.one_of(&["up", "limit", "temperature"])
            ),
            10 => format!("(timestamp({}) - 1700000000)", self.selector()),
            _ => {
                let op = self.one_of(&["==", "!=", ">", "<", ">= bool", "+", "-"]);
                format!("temperature {op} on (job, instance) up")
            }
        }
    }

    pub(super) fn selector(&mut self) -> String {
        let body = self.bare_selector();
        body + &self.offset()
    }

    /// Without offset and `@`.
    pub(super) fn bare_selector(&mut self) -> String {
        let (metric, labels) = self.one_of(&METRICS);
        let mut matchers = Vec::new();
        for (label, values) in labels {
            if !self.chance(0.25) {
                continue;
            }
            let value = self.one_of(values);
            matchers.push(match self.below(6) {
                0 => format!("{label}!=\"{value}\""),
                1 => format!("{label}=~\"{value}|{}\"", self.one_of(values)),
                2 => format!("{label}!~\"{}.*\"", &value[..1].replace('+', "x")),
                3 => format!("{label}=~\".+\""),
                _ => format!("{label}=\"{value}\""),
            });
        }
        if self.chance(0.05) {
            matchers.push("absent_label=\"\"".to_owned());
        }
        match (matchers.is_empty(), self.below(12)) {
            (_, 0) => {
                matchers.push(format!("__name__=\"{metric}\""));
                format!("{{{}}}", matchers.join(","))
            }
            (true, _) => metric.to_owned(),
            (false, _) => format!("{metric}{{{}}}", matchers.join(",")),
        }
    }

    pub(super) fn grouping(&mut self) -> String {
        let labels = self.one_of(&[
            "job",
            "instance",
            "job, instance",
            "",
            "code",
            "kind",
            "missing",
            "le, job",
        ]);
        match self.below(3) {
            0 => String::new(),
            1 => format!(" by ({labels})"),
            _ => format!(" without ({labels})"),
        }
    }

    fn arithmetic(&mut self, depth: u32) -> String {
        let op = self.one_of(&["+", "-", "*", "/", ">", "<", "> bool", "<= bool", "atan2"]);
        match self.below(5) {
            0 => format!(
                "({}) {op} on (job) group_left {}",
                self.vector(depth),
                self.one_of(&["limit", "sum by (job) (up)"])
            ),
            1 => format!("limit {op} on (job) group_right () ({})", self.vector(depth)),
            2 => {
                let (left, right) = (self.over_range(), self.over_range());
                format!("{left} {op} ignoring (code, le) {right}")
            }
            3 => {
                let side = |g: &mut Self| format!("sum by (job) ({})", g.vector(depth));
                format!("{} {op} {}", side(self), side(self))
            }
            _ => format!("temperature{} {op} on (job, instance) up", self.offset()),
        }
    }

    fn mathematics(&mut self, depth: u32) -> String {
        let name = self.one_of(&[
            "abs",
            "exp",
            "ln",
            "log2",
            "log10",
            "sqrt",
            "deg",
            "rad",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "acosh",
            "atanh",
            "minute",
            "hour",
            "day_of_week",
            "days_in_month",
            "month",
            "year",
            "day_of_month",
            "day_of_year",
        ]);
        let dates = [
            "minute",
            "hour",
            "day_of_week",
            "days_in_month",
            "month",
            "year",
            "day_of_month",
            "day_of_year",
        ];
        if dates.contains(&name) {
            return match self.below(3) {
                0 => format!("{name}()"),
                1 => format!("{name}(timestamp({}))", self.selector()),
                _ => {
                    format!("{name}(vector(time() * {}))", self.one_of(&["1", "0.5", "0.01", "2"]))
                }
            };
        }
        let _ = depth;
        format!(
            "{name}({})",
            self.one_of(&["temperature", "up", "limit", "flat", "odd", "temperature / 8"])
        )
    }

    fn relabelled(&mut self, depth: u32) -> String {
        let vector = self.vector(depth);
        match self.below(4) {
            0 => format!("label_replace({vector}, \"to\", \"x-$1\", \"job\", \"(.).*\")"),
            1 => format!("label_replace({vector}, \"instance\", \"$2\", \"job\", \"(a)(pi)\")"),
            2 => format!("label_join({vector}, \"to\", \"/\", \"job\", \"instance\")"),
            _ => format!("label_replace({vector}, \"job\", \"\", \"kind\", \"late|gone\")"),
        }
    }
}
