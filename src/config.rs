//! The configuration: one YAML file, then flags over it, then every rule checked, before anything starts.

use std::{collections::BTreeMap, path::Path};

pub(crate) mod alertmanager;
mod alertmanager_flags;
mod blackbox;
mod check;
mod file;
mod flags;
mod foreign;
mod index;
mod misfit;
mod parse;
mod policy;
mod problem;
mod query;
pub(crate) mod web;

pub(crate) use file::{Config, LogFormat, Role, Telemetry};
pub(crate) use flags::{Flags, member};
pub(crate) use policy::failover_policy;
pub(crate) use problem::Problems;
pub(crate) use query::QueryConfig;

use index::Index;
use parse::{Dialect, Misfits};
use problem::{Place, Problem};
use watchkeep_alerting::{rule, slo::openslo};
use watchkeep_collector::blackbox::Modules;

use crate::rules::PromQl;

/// Reads `file` (if any), lays `flags` over it and checks the whole.
///
/// # Errors
/// Everything that is wrong, at once; or that the file cannot be read.
pub(crate) fn load(file: Option<&Path>, flags: &Flags) -> anyhow::Result<Config> {
    load_with_remarks(file, flags).map(|(config, _)| config)
}

/// The same, with what can be and will most likely not do what is meant.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_with_remarks(
    file: Option<&Path>,
    flags: &Flags,
) -> anyhow::Result<(Config, Vec<Problem>)> {
    let mut origin = Origin::default();
    let mut config = Config::default();
    let mut misfits = Vec::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|e| {
            anyhow::anyhow!(
                "cannot read the configuration {}: {e}; --config names another file",
                path.display()
            )
        })?;
        let name = path.display().to_string();
        origin.file = Some(name.clone());
        (config, origin.index) = match parse::fit(Dialect::Yaml12, &name, &text) {
            Ok(read) => read,
            Err(Misfits { problems, rest: None }) => return Err(Problems(problems).into()),
            Err(Misfits { problems, rest: Some(read) }) => {
                misfits = problems;
                read
            }
        };
    }
    config.rules_base = file.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    flags.apply(&mut config, &mut origin.flags);
    let web = config.listen.http_web_config.as_deref().map(web::load).transpose();
    if let Ok(Some(web)) = &web {
        config.demands = web.demands();
    }
    config.settle(|path| origin.is_given(path));
    let mut problems: Vec<_> = check::check(&config)
        .into_iter()
        .filter(|(path, _)| !misfit::may_follow(&misfits, path))
        .map(|(path, message)| Problem { place: origin.place(&path), path, message })
        .collect();
    if !misfits.is_empty() {
        problems.extend(misfits);
        problems.sort();
        return Err(Problems(problems).into());
    }
    problems.extend(flags.refused().into_iter().map(|(flag, message)| Problem {
        place: Place::Flag(flag),
        path: String::new(),
        message,
    }));
    if let Err(wrong) = web {
        problems.extend(wrong.0);
    }
    if let Err(wrong) = config.blackbox() {
        problems.extend(wrong.0);
    }
    problems.extend(rule_problems(&config));
    if let Err(wrong) = config.openslo() {
        problems.extend(wrong.into_iter().map(of_rules));
    }
    if let Some(Err(wrong)) = config.alerting.alertmanager_config.as_deref().map(alertmanager::load)
    {
        problems.extend(wrong.0);
    }
    if problems.is_empty() {
        let mut remarks: Vec<_> = check::remarks(&config, chrono::Utc::now().timestamp())
            .into_iter()
            .map(|(path, message)| Problem { place: origin.place(&path), path, message })
            .collect();
        remarks.sort();
        return Ok((config, remarks));
    }
    problems.sort();
    problems.dedup();
    Err(Problems(problems).into())
}

/// What is wrong with the rule files.
fn rule_problems(config: &Config) -> Vec<Problem> {
    let origin = config.alerting.rule_settings(&config.rules_base).origin;
    let wrong = rule::load(&origin, &config.promql()).err().unwrap_or_default();
    wrong.into_iter().map(of_rules).collect()
}

fn of_rules(wrong: rule::Problem) -> Problem {
    Problem {
        place: match wrong.line {
            Some(line) => Place::Line(wrong.file, line),
            None => Place::File(wrong.file),
        },
        path: String::new(),
        message: wrong.message,
    }
}

/// The PromQL of rules under a configuration file, of which nothing else is judged.
///
/// # Errors
/// That the file cannot be read, or does not fit.
pub(crate) fn promql(file: &Path) -> anyhow::Result<PromQl> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|e| anyhow::anyhow!("cannot read the configuration {name}: {e}"))?;
    let (config, _) = parse::parse_as::<Config>(Dialect::Yaml12, &name, &text).map_err(Problems)?;
    Ok(config.promql())
}

impl Config {
    /// The PromQL of rules. What another data source knows of it is that one's matter.
    pub(crate) fn promql(&self) -> PromQl {
        PromQl { experimental: self.query.experimental || self.alerting.data_source.is_some() }
    }

    /// The OpenSLO documents.
    ///
    /// # Errors
    /// Everything that is wrong in them. [`load`] has judged them; they may have changed since.
    pub(crate) fn openslo(&self) -> Result<Vec<openslo::Slo>, Vec<rule::Problem>> {
        let slos = openslo::load(&self.rules_base, &self.slo.openslo_files, &self.promql())?;
        let kept = u64::from(self.slo.retention_days);
        let wrong: Vec<_> = slos
            .iter()
            .filter(|slo| slo.window.days() > kept)
            .map(|slo| rule::Problem {
                file: slo.file.clone(),
                line: Some(slo.line),
                message: format!(
                    "the window of {:?} has {} days, and counts are kept for {kept}: raise slo.retention_days, or ask for less",
                    slo.name,
                    slo.window.days()
                ),
            })
            .collect();
        if wrong.is_empty() { Ok(slos) } else { Err(wrong) }
    }

    /// blackbox_exporter's modules; none where `collector.blackbox_config` names no file.
    ///
    /// # Errors
    /// Everything that is wrong in that file. [`load`] has judged it; it may have changed since.
    pub(crate) fn blackbox(&self) -> Result<Option<Modules>, Problems> {
        let file = self.collector.blackbox_config.as_deref();
        file.map(blackbox::load).transpose().map_err(Problems)
    }
}

/// Where each value came from.
#[derive(Debug, Default)]
struct Origin {
    file: Option<String>,
    index: Index,
    flags: BTreeMap<String, &'static str>,
}

impl Origin {
    fn is_given(&self, path: &str) -> bool {
        self.flags.contains_key(path) || self.index.has(path)
    }

    fn place(&self, path: &str) -> Place {
        let flag = self.flags.iter().find(|(given, _)| {
            path.strip_prefix(given.as_str())
                .is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
        });
        match (flag, &self.file) {
            (Some((_, flag)), _) => Place::Flag(flag),
            (None, Some(file)) => match self.index.line(path) {
                Some(line) => Place::Line(file.clone(), line),
                None => Place::File(file.clone()),
            },
            (None, None) => Place::Default,
        }
    }
}
