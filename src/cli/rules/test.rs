//! `watchkeep rules test`: promtool's unit-test files, unchanged. Fails (status 1) when a test does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use watchkeep_alerting::{
    rule::{Environment, Group, GroupState, Origin, evaluate, load},
    template::Site,
};

use super::{
    shape::{Case, Millis, TestFile},
    suite::{self, Suite},
    verdict,
};
use crate::{cli::features::Features, out, rules::PromQl};

/// Between evaluations, where the file does not say.
const INTERVAL: Millis = Millis(60_000);
/// Most steps of one test.
const STEPS_MAX: i64 = 10_000_000;

/// Arguments of `watchkeep rules test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Unit-test files in promtool's format
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose name this regular expression matches
    #[arg(long, value_name = "REGEX")]
    run: Option<String>,
    #[command(flatten)]
    features: Features,
}

impl Test {
    /// Prints how each file's tests went.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let run = self.run.as_deref().map(regex::Regex::new).transpose()?;
        let promql = self.features.promql()?;
        let mut failed = 0;
        for file in &self.files {
            let failures = judge(file, run.as_ref(), promql);
            out::line(format_args!("Unit Testing:  {}", file.display()));
            if failures.is_empty() {
                out::line("  SUCCESS");
            } else {
                failed += 1;
                out::line("  FAILED:");
                failures.iter().for_each(|failure| out::line(indent(failure)));
            }
            out::line("");
        }
        match failed {
            0 => Ok(()),
            some => bail!("{some} of {} files failed", self.files.len()),
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Everything that is not as the file says.
fn judge(file: &Path, run: Option<&regex::Regex>, promql: PromQl) -> Vec<String> {
    let (tests, groups) = match read(file, promql) {
        Ok(read) => read,
        Err(failures) => return failures,
    };
    let step = tests.evaluation_interval.filter(|i| i.0 > 0).unwrap_or(INTERVAL);
    let mut failures = Vec::new();
    for case in &tests.tests {
        if run.is_some_and(|run| !run.is_match(&case.name)) {
            continue;
        }
        let found = match run_case(case, &groups, (step, tests.fuzzy_compare), promql) {
            Ok(found) => found,
            Err(message) => vec![message],
        };
        let name =
            if case.name.is_empty() { String::new() } else { format!("name: {},\n", case.name) };
        failures.extend(found.into_iter().map(|failure| format!("{name}{failure}")));
    }
    failures
}

/// The tests and the rules they are about, in the order of evaluation.
fn read(file: &Path, promql: PromQl) -> Result<(TestFile, Vec<Group>), Vec<String>> {
    let of_file = |message: String| vec![format!("{}: {message}", file.display())];
    let text = std::fs::read_to_string(file).map_err(|e| of_file(e.to_string()))?;
    let tests: TestFile = serde_saphyr::from_str(&text)
        .map_err(|e: serde_saphyr::Error| of_file(e.without_snippet().to_string()))?;
    if tests.tests.is_empty() {
        return Ok((tests, Vec::new()));
    }
    let base = file.parent().unwrap_or(Path::new("")).to_owned();
    let origin = Origin {
        patterns: found(&base, &tests.rule_files),
        base,
        interval: Duration::from_mins(1),
        ..Origin::default()
    };
    let loaded = load(&origin, &promql)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let mut order = BTreeMap::new();
    for (at, name) in tests.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), at).is_some() {
            return Err(of_file(format!("group_eval_order: {name} is there twice")));
        }
    }
    let mut groups = loaded.groups;
    groups.sort_by_key(|group| order.get(group.name.as_str()).copied().unwrap_or(0));
    Ok((tests, groups))
}

/// The patterns that are no names of files that are not there: as promtool, which only warns of these.
fn found(base: &Path, patterns: &[String]) -> Vec<String> {
    let is_there = |pattern: &&String| {
        let there = pattern.contains(['*', '?', '[']) || base.join(pattern).exists();
        if !there {
            eprintln!("  WARNING: no file match pattern {pattern}");
        }
        there
    };
    patterns.iter().filter(is_there).cloned().collect()
}

/// Runs one test from its start to its last question.
pub(super) fn run_case(
    case: &Case,
    groups: &[Group],
    (step, fuzzy): (Millis, bool),
    promql: PromQl,
) -> Result<Vec<String>, String> {
    let interval = case.interval.filter(|i| i.0 > 0).unwrap_or(step);
    let start = case.start_timestamp.0;
    let mut coming = Vec::new();
    for input in &case.input_series {
        let series = suite::series(&input.series, &input.values, (start, interval.0));
        coming.push(series.map_err(|e| format!("input_series {}: {e}", input.series))?);
    }
    let suite = Arc::new(Suite::new(promql));
    let environment = Environment {
        ask: Arc::<Suite>::clone(&suite),
        external_labels: case.external_labels.clone(),
        site: Site { external_url: case.external_url.clone() },
        query_offset: Duration::ZERO,
    };
    let times: BTreeSet<i64> = case.alert_rule_test.iter().map(|test| test.eval_time.0).collect();
    let exprs = case.promql_expr_test.iter().map(|test| test.eval_time.0);
    let end = times.iter().copied().chain(exprs).max().unwrap_or(0);
    if end / step.0 > STEPS_MAX {
        return Err(format!(
            "more than {STEPS_MAX} evaluations; ask earlier, or evaluate less often"
        ));
    }
    let mut states: Vec<GroupState> = groups.iter().map(GroupState::new).collect();
    let mut failures = Vec::new();
    for passed in (0..=end).step_by(usize::try_from(step.0).unwrap_or(usize::MAX)) {
        suite.arrive(&mut coming, start + passed);
        for (group, state) in groups.iter().zip(&mut states) {
            failures.extend(evaluate_group(group, state, (start, passed), &environment, &suite));
        }
        if !failures.is_empty() {
            return Ok(failures);
        }
        for test in &case.alert_rule_test {
            if (passed..passed + step.0).contains(&test.eval_time.0) {
                failures.extend(verdict::alerts(test, groups, &states));
            }
        }
    }
    for test in &case.promql_expr_test {
        failures.extend(verdict::samples(test, start, &suite, fuzzy));
    }
    Ok(failures)
}

/// Evaluates a group's rules; answers with what did not go well.
fn evaluate_group(
    group: &Group,
    state: &mut GroupState,
    (start, passed): (i64, i64),
    environment: &Environment,
    suite: &Suite,
) -> Vec<String> {
    let mut failures = Vec::new();
    for at in 0..group.rules.len() {
        evaluate(group, at, state, start + passed, environment, suite);
        if let Some(message) = &state.rules[at].last_error {
            let name = group.rules[at].name();
            let time = verdict::clock(passed);
            failures.push(format!("rule: {name}, time: {time}, err: {message}"));
        }
    }
    failures
}
