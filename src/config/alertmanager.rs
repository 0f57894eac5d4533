//! `alerting.alertmanager_config`: an `alertmanager.yml`, judged like ours.

use std::path::Path;

use watchkeep_alerting::AlertmanagerConfig;

use super::{
    foreign,
    problem::{Problem, Problems},
};

/// Reads and judges the file.
///
/// # Errors
/// That it cannot be read, or everything that is wrong in it.
pub(crate) fn load(path: &Path) -> Result<AlertmanagerConfig, Problems> {
    let (name, text) = foreign::text(path, "an alertmanager.yml").map_err(Problems)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    read(&name, &text, dir).map_err(Problems)
}

/// Judges `text`; `file` is its name in messages, and files that it names lie in `dir` unless they say otherwise.
fn read(file: &str, text: &str, dir: &Path) -> Result<AlertmanagerConfig, Vec<Problem>> {
    foreign::judged(file, text, |config: &mut AlertmanagerConfig| {
        config.resolve(dir);
        let wrong = config.validate().err().unwrap_or_default().into_iter();
        wrong.map(|i| (i.path, i.message)).collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every part of the file, as its users write it.
    const EVERYTHING: &str = include_str!("../../tests/data/alertmanager/everything.yml");

    fn problems(text: &str) -> Vec<String> {
        let wrong = read("a.yml", text, Path::new("")).err().unwrap_or_default();
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_whole_file_is_taken() {
        assert_eq!(problems(EVERYTHING), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (text, expected) in [
            (
                "route:\n  receiver: a\n  grup_by: [x]\n",
                "a.yml:3: route: unknown field `grup_by`; known:",
            ),
            (
                "route:\n  receiver: b\nreceivers:\n- name: a\n",
                "a.yml:2: route.receiver: receiver \"b\" is not defined; defined: a",
            ),
            (
                "route:\n  receiver: a\n  group_wait: 5\nreceivers:\n- name: a\n",
                "a.yml:3: route.group_wait: \"5\" is not a duration: write a number and its unit, like 30s or 1h30m",
            ),
            (
                "route:\n  receiver: a\nreceivers:\n- name: a\n  victorops_configs:\n  - api_key: x\n",
                "a.yml:5: receivers[0].victorops_configs: victorops is not supported; supported: email, webhook,",
            ),
            (
                "route:\n  receiver: a\nreceivers:\n- name: a\n  slack_configs:\n  - api_url: http://x/y\n    title: '{{ nope }}'\n",
                "a.yml:7: receivers[0].slack_configs[0].title: it is not a template:",
            ),
            (
                "route:\n  receiver: a\nreceivers:\n- name: a\ntime_intervals:\n- name: n\n  time_intervals:\n  - weekdays: ['mon']\n",
                "a.yml:8: time_intervals[0].time_intervals[0].weekdays[0]: \"mon\" is not a day of the week",
            ),
        ] {
            let found = problems(text);
            assert!(
                found.iter().any(|line| line.starts_with(expected)),
                "{found:#?}\ninstead of\n{expected}"
            );
        }
    }

    proptest! {
        /// Pieces of a real file in any order.
        #[test]
        fn pieces_of_a_file_do_not_make_it_panic(lines in proptest::collection::vec(0..200_usize, 0..40)) {
            let all: Vec<_> = EVERYTHING.lines().collect();
            let text: Vec<_> = lines.iter().map(|at| all[at % all.len()]).collect();
            let _ = read("a.yml", &text.join("\n"), Path::new(""));
        }
    }
}
