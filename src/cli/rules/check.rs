//! `watchkeep rules check`: rule files, judged as `serve` judges them. Fails (status 1) when one is wrong.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use watchkeep_alerting::rule::{Group, parse_file};

use crate::{cli::features::Features, out, rules::PromQl};

/// Arguments of `watchkeep rules check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Rule files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Fail when a rule is there twice, too
    #[arg(long)]
    lint_fatal: bool,
    #[command(flatten)]
    features: Features,
}

impl Check {
    /// Prints a line for each file that is right, and everything that is wrong with the others.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut wrong = Vec::new();
        let mut twice = 0;
        let promql = self.features.promql()?;
        for file in &self.files {
            match read(file, promql) {
                Ok(groups) => {
                    let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
                    out::line(format_args!("{}: ok, {rules} rules", file.display()));
                    for line in duplicates(file, &groups) {
                        twice += 1;
                        eprintln!("{line}");
                    }
                }
                Err(lines) => wrong.extend(lines),
            }
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        if self.lint_fatal && twice > 0 {
            bail!("{twice} rules are there twice");
        }
        Ok(())
    }
}

/// A file's groups, or what is wrong with it, a line each.
fn read(file: &Path, promql: PromQl) -> Result<Vec<Group>, Vec<String>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| vec![format!("{name}: {e}")])?;
    parse_file(&name, &text, Duration::from_mins(1), &promql)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Rules with the same name and labels: whichever comes later wins, or both fail.
fn duplicates(file: &Path, groups: &[Group]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let labels: Vec<_> = rule.labels.iter().map(|(n, t)| (n, &t.raw)).collect();
        if !seen.insert((rule.name(), labels)) {
            let (file, line, name) = (file.display(), rule.line, rule.name());
            lines.push(format!("{file}:{line}: warning: {name} is there twice with these labels"));
        }
    }
    lines
}
