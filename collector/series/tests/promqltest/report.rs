//! Counts, and what fails by cause.

use std::{collections::BTreeMap, fmt};

use crate::run::{Cause, Outcome};

#[derive(Default)]
pub(crate) struct Report(Vec<(String, Vec<Outcome>)>);

/// Passed and total.
type Count = (usize, usize);

impl Report {
    pub(crate) fn add(&mut self, file: &str, outcomes: Vec<Outcome>) {
        self.0.push((file.to_owned(), outcomes));
    }

    /// Files that pass fewer cases than recorded. A file with another number of cases is another file.
    pub(crate) fn fallen(&self, recorded: &[(&str, usize, usize)]) -> Vec<String> {
        let mut fallen = Vec::new();
        for (file, outcomes) in &self.0 {
            let (passed, total) = count(outcomes, |_| true);
            for (_, least, of) in recorded.iter().filter(|(name, ..)| name == file) {
                if total == *of && passed < *least {
                    fallen.push(format!("{file}: {passed} / {total} pass, {least} are recorded"));
                }
            }
        }
        fallen
    }
}

fn count(outcomes: &[Outcome], which: impl Fn(&Outcome) -> bool) -> Count {
    let all = outcomes.iter().filter(|o| which(o));
    let passed = all.clone().filter(|o| o.failed.is_none()).count();
    (passed, all.count())
}

fn rejected(outcome: &Outcome) -> bool {
    matches!(outcome.failed, Some((Cause::ParserRejects, _)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, outcomes) in &self.0 {
            let (passed, total) = count(outcomes, |_| true);
            writeln!(f, "{file:28} {passed:4} / {total}")?;
        }
        let all = |which: &dyn Fn(&Outcome) -> bool| {
            self.0.iter().fold((0, 0), |(passed, total), (_, outcomes)| {
                let (p, t) = count(outcomes, which);
                (passed + p, total + t)
            })
        };
        let lines: [(&str, Count); 4] = [
            ("all", all(&|_| true)),
            ("accepted by the parser", all(&|o| !rejected(o))),
            ("… without native histograms", all(&|o| !rejected(o) && !o.native)),
            ("… with native histograms", all(&|o| !rejected(o) && o.native)),
        ];
        for (name, (passed, total)) in lines {
            writeln!(f, "{name:28} {passed:4} / {total}")?;
        }
        let mut causes: BTreeMap<Cause, Vec<String>> = BTreeMap::new();
        for (file, outcomes) in &self.0 {
            for outcome in outcomes {
                if let Some((cause, message)) = &outcome.failed {
                    let Outcome { line, expr, .. } = outcome;
                    let failure = format!("  {file}:{line}: {expr}\n      {message}");
                    causes.entry(*cause).or_default().push(failure);
                }
            }
        }
        for (cause, failures) in causes {
            let name = match cause {
                Cause::ParserRejects => "the parser rejects the expression",
                Cause::Unsupported => "unsupported",
                Cause::Wrong => "wrong",
            };
            writeln!(f, "\n{name}: {}", failures.len())?;
            failures.iter().try_for_each(|failure| writeln!(f, "{failure}"))?;
        }
        Ok(())
    }
}
