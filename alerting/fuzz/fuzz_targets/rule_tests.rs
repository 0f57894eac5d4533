//! Fuzzes promtool's unit-test files, and the series and samples in them.

#![no_main]
#![allow(dead_code, reason = "the shapes are the binary's")]

use watchkeep_series::promql::notation::{parse_labels, parse_points, parse_series};

#[path = "../../../src/cli/rules/shape.rs"]
mod shape;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(file) = serde_saphyr::from_str::<shape::TestFile>(text) else { return };
    for case in &file.tests {
        for input in &case.input_series {
            let _ = parse_series(&format!("{} {}", input.series, input.values));
        }
        for sample in case.promql_expr_test.iter().flat_map(|test| test.exp_samples.iter().flatten()) {
            let _ = (parse_labels(&sample.labels), parse_points(&sample.histogram));
        }
    }
});
