//! A failover policy in a file of its own, read and judged as it would be in the configuration.

use watchkeep_alerting::{AlertingConfig, config::FailoverPolicy};

use super::{
    parse::{self, Dialect},
    problem::{Place, Problem, Problems},
};

/// Reads a policy; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong, by its line. What lies on the nodes, programs and secrets, is not looked for here.
pub(crate) fn failover_policy(file: &str, text: &str) -> Result<FailoverPolicy, Problems> {
    let (policy, index) =
        parse::parse_as::<FailoverPolicy>(Dialect::Yaml12, file, text).map_err(Problems)?;
    let alerting = AlertingConfig { failover: vec![policy.clone()], ..AlertingConfig::default() };
    let wrong = alerting.validate().err().unwrap_or_default().into_iter();
    let problem = |path: &str, message: String| {
        let mut known = Some(path);
        let line = std::iter::from_fn(|| {
            let at = known?;
            known = at.rfind(['.', '[']).map(|end| &at[..end]);
            Some(at)
        })
        .find_map(|at| index.line(at));
        let place = match line {
            Some(line) => Place::Line(file.to_owned(), line),
            None => Place::File(file.to_owned()),
        };
        Problem { place, path: path.to_owned(), message }
    };
    let mut problems: Vec<Problem> = wrong
        .filter_map(|invalid| {
            let path = invalid.path.strip_prefix("failover[0]")?.trim_start_matches('.');
            let elsewhere = [".command", "secret_file", "secret_next_file"];
            let is_elsewhere = elsewhere.iter().any(|end| path.ends_with(end));
            (!is_elsewhere).then(|| problem(path, invalid.message))
        })
        .collect();
    problems.sort();
    if problems.is_empty() { Ok(policy) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_judged_by_its_lines() {
        let good = "name: a\nwhen: {service: web}\nsteps:\n  - script: {command: promote.sh}\n";
        assert_eq!(failover_policy("p.yml", good).expect("a policy").name, "a");
        for (text, words) in [
            (
                "name: a\nwhen: {servce: web}\ncallback: {url: \"http://x\"}\n",
                "p.yml:2: when: unknown field",
            ),
            (
                "name: a\nwhen: {service: web}\nsteps:\n  - calback: {}\n",
                "p.yml:4: steps[0]: unknown field",
            ),
            (
                "name: a\nwhen: {service: web}\nguards:\n  quorum: 0\nsteps: [{page: {text: x}}]\n",
                "p.yml:4: guards.quorum: ",
            ),
            ("name: a\nwhen: {}\ncallback: {url: \"http://x\"}\n", "p.yml:2: when"),
            ("name: [\n", "p.yml"),
        ] {
            let said = failover_policy("p.yml", text).expect_err(text).to_string();
            assert!(said.starts_with(words), "{said}");
        }
    }
}
