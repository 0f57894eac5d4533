//! Functions of range vectors.

use super::Generator;

impl Generator {
    pub(super) fn over_range(&mut self) -> String {
        let name = self.one_of(&[
            "rate",
            "rate",
            "increase",
            "irate",
            "idelta",
            "delta",
            "deriv",
            "changes",
            "resets",
            "avg_over_time",
            "sum_over_time",
            "min_over_time",
            "max_over_time",
            "count_over_time",
            "last_over_time",
            "present_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "quantile_over_time",
            "predict_linear",
            "absent_over_time",
            "double_exponential_smoothing",
        ]);
        // What is extrapolated or jumps is asked of exact values only.
        let exact = ["changes", "resets", "rate", "increase", "delta"].contains(&name);
        let range = self.range(exact);
        match name {
            "quantile_over_time" => {
                format!("{name}({}, {range})", self.one_of(&["0.5", "0", "1", "0.75", "-1", "2"]))
            }
            "predict_linear" => {
                format!("{name}({range}, {})", self.one_of(&["60", "600", "0", "-30"]))
            }
            "double_exponential_smoothing" => format!("{name}({range}, 0.5, 0.3)"),
            _ => format!("{name}({range})"),
        }
    }

    fn range(&mut self, exact: bool) -> String {
        if self.chance(0.7) {
            return format!("{}[{}]{}", self.bare_selector(), self.duration(), self.offset());
        }
        let inner = match self.below(3) {
            0 if !exact => format!("rate({}[{}])", self.bare_selector(), self.duration()),
            1 if !exact => format!("sum by (job) ({})", self.bare_selector()),
            _ => self.bare_selector(),
        };
        let step = self.one_of(&["30s", "10s", "20s", "", "1m"]);
        format!("({inner})[{}:{step}]{}", self.one_of(&["2m", "5m", "10m", "3m"]), self.offset())
    }
}
