//! Which broken rules may only be there since something could not be read: those are not told.

use super::problem::Problem;

/// Sections, and those whose values their rules look at, too.
const LOOKS_AT: [(&str, &[&str]); 4] = [
    ("listen", &["node", "external_url"]),
    ("registry", &["node", "listen"]),
    ("alerting", &["collector"]),
    ("slo", &["alerting"]),
];

/// Whether the rule that `path` breaks may only be broken by these misfits: they are in the same section, in one that it
/// looks at, or nobody knows where they belong.
pub(super) fn may_follow(misfits: &[Problem], path: &str) -> bool {
    let own = section(path);
    let seen = LOOKS_AT.iter().find(|(name, _)| *name == own).map_or(&[][..], |(_, seen)| seen);
    misfits
        .iter()
        .map(|misfit| section(&misfit.path))
        .any(|broken| broken.is_empty() || broken == own || seen.contains(&broken))
}

fn section(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::problem::Place, *};

    #[test]
    fn what_may_follow_from_a_misfit_is_not_told() {
        let misfit = |path: &str| Problem {
            place: Place::Default,
            path: path.to_owned(),
            message: String::new(),
        };
        for (broken, path, follows) in [
            ("node.roles[1]", "node.name", true),
            ("node.id", "registry.initial_cluster", true),
            ("telemetry.log_format", "registry.initial_cluster", false),
            ("alerting.people", "slo.reports[0].to[0]", true),
            ("collector.retention_hours", "slo.availability", false),
            ("", "slo.availability", true),
        ] {
            assert_eq!(may_follow(&[misfit(broken)], path), follows, "{broken} {path}");
        }
        assert!(!may_follow(&[], "node.id"));
    }
}
