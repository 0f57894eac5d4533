//! What can be wrong with an `alertmanager.yml` beyond its shape, said before anything starts.

use std::collections::BTreeSet;

use super::{AlertmanagerConfig, InhibitRule, Invalid, Route};
use crate::{
    alertmanager::{
        matcher::Matcher,
        route::{self, ALL},
        words::Words,
    },
    config::undefined,
};

mod http;
mod receiver;

/// Routes in one file; and so deep they may lie in each other.
const ROUTES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 64;

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Findings(Vec<Invalid>);

impl Findings {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid { path: path.into(), message: message.into() });
    }

    pub(super) fn check<T>(
        &mut self,
        path: impl Into<String>,
        result: Result<T, String>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(message) => {
                self.add(path, message);
                None
            }
        }
    }
}

pub(super) fn validate(config: &AlertmanagerConfig) -> Result<(), Vec<Invalid>> {
    let mut found = Findings::default();
    receiver::check_all(&mut found, config);
    let intervals = check_intervals(&mut found, config);
    check_inhibition(&mut found, &config.inhibit_rules);
    match &config.route {
        None => found.add("", "route is missing: give one with a receiver"),
        Some(root) => {
            let receivers = config.receivers.iter().map(|r| r.name.as_str()).collect();
            Routes { found: &mut found, receivers, intervals, count: 0 }.check_root(root);
        }
    }
    if let Err(wrong) = Words::new(config, "") {
        found.0.extend(wrong);
    }
    if found.0.is_empty() { Ok(()) } else { Err(found.0) }
}

/// Answers with the names of the intervals.
fn check_intervals<'a>(found: &mut Findings, config: &'a AlertmanagerConfig) -> Vec<&'a str> {
    let mut names = Vec::new();
    let lists = [
        ("mute_time_intervals", &config.mute_time_intervals),
        ("time_intervals", &config.time_intervals),
    ];
    for (list, intervals) in lists {
        for (at, interval) in intervals.iter().enumerate() {
            let path = format!("{list}[{at}].name");
            let name = interval.name.as_str();
            if name.is_empty() {
                found.add(path, "is empty: give each time interval a name");
            } else if names.contains(&name) {
                let message =
                    format!("time interval {name:?} is defined twice: give each its own name");
                found.add(path, message);
            } else {
                names.push(name);
            }
        }
    }
    names
}

fn check_inhibition(found: &mut Findings, rules: &[InhibitRule]) {
    for (at, rule) in rules.iter().enumerate() {
        let path = format!("inhibit_rules[{at}]");
        let source = (&rule.source_match, &rule.source_match_re, &rule.source_matchers);
        let target = (&rule.target_match, &rule.target_match_re, &rule.target_matchers);
        for (side, (equal, regex, matchers)) in [("source", source), ("target", target)] {
            check_regexes(found, &format!("{path}.{side}_match_re"), regex);
            check_matchers(found, &format!("{path}.{side}_matchers"), matchers);
            if equal.is_empty() && regex.is_empty() && matchers.is_empty() {
                let message = format!("it has no {side}: give {side}_matchers");
                found.add(&path, message);
            }
        }
    }
}

fn check_regexes(
    found: &mut Findings,
    path: &str,
    regexes: &std::collections::BTreeMap<String, String>,
) {
    for (name, value) in regexes {
        found.check(format!("{path}.{name}"), Matcher::anchored(name, value));
    }
}

fn check_matchers(found: &mut Findings, path: &str, texts: &[String]) {
    for (at, text) in texts.iter().enumerate() {
        found.check(format!("{path}[{at}]"), crate::alertmanager::matcher::parse_all(text));
    }
}

struct Routes<'a> {
    found: &'a mut Findings,
    receivers: Vec<&'a str>,
    intervals: Vec<&'a str>,
    count: usize,
}

impl Routes<'_> {
    fn check_root(&mut self, root: &Route) {
        if root.receiver.as_deref().unwrap_or_default().is_empty() {
            self.found.add("route", "the first route has no receiver: every alert needs one");
        }
        if !root.equal.is_empty() || !root.regex.is_empty() || !root.matchers.is_empty() {
            self.found.add("route", "the first route may have no matchers: every alert takes it");
        }
        if !root.mute_time_intervals.is_empty() || !root.active_time_intervals.is_empty() {
            self.found.add(
                "route",
                "the first route may have no time intervals: give them to routes below it",
            );
        }
        if root.goes_on {
            self.found.add("route.continue", "the first route has no next one: take it out");
        }
        self.check(root, "route", 0);
    }

    fn check(&mut self, route: &Route, path: &str, depth: usize) {
        self.count += 1;
        if depth > DEPTH_MAX || self.count > ROUTES_MAX {
            let message =
                format!("too many routes: at most {ROUTES_MAX}, and {DEPTH_MAX} within each other");
            self.found.add(path, message);
            return;
        }
        let receiver = route.receiver.as_deref().filter(|name| !name.is_empty());
        if let Some(name) = receiver.filter(|name| !self.receivers.contains(name)) {
            let message = undefined("receiver", name, &self.receivers);
            self.found.add(format!("{path}.receiver"), message);
        }
        check_regexes(self.found, &format!("{path}.match_re"), &route.regex);
        check_matchers(self.found, &format!("{path}.matchers"), &route.matchers);
        self.check_groups(route, path);
        let lists = [
            ("mute_time_intervals", &route.mute_time_intervals),
            ("active_time_intervals", &route.active_time_intervals),
        ];
        for (list, names) in lists {
            for (at, name) in names.iter().enumerate() {
                if !self.intervals.contains(&name.as_str()) {
                    let message = undefined("time interval", name, &self.intervals);
                    self.found.add(format!("{path}.{list}[{at}]"), message);
                }
            }
        }
        self.check_reach(route, path);
        for (at, child) in route.routes.iter().enumerate() {
            self.check(child, &format!("{path}.routes[{at}]"), depth + 1);
        }
    }

    fn check_groups(&mut self, route: &Route, path: &str) {
        let mut seen = BTreeSet::new();
        let names = route.group_by.as_deref().unwrap_or_default();
        for (at, name) in names.iter().enumerate() {
            let path = format!("{path}.group_by[{at}]");
            if !seen.insert(name) {
                self.found.add(path, format!("{name:?} stands here twice: name it once"));
            } else if name.is_empty() {
                self.found.add(path, "is empty: give a label's name");
            }
        }
        if names.len() > 1 && names.iter().any(|name| name == ALL) {
            self.found
                .add(format!("{path}.group_by"), "... is all labels: name no other beside it");
        }
        for (field, span) in
            [("group_interval", route.group_interval), ("repeat_interval", route.repeat_interval)]
        {
            if span.is_some_and(|span| span.0.is_zero()) {
                self.found.add(format!("{path}.{field}"), "0 is not allowed: give at least 1ms");
            }
        }
    }

    /// A route behind one that takes every alert it would match, and does not go on, is never taken.
    fn check_reach(&mut self, parent: &Route, path: &str) {
        let compile =
            |route: &Route| route::matchers(&route.equal, &route.regex, &route.matchers).ok();
        let all: Vec<_> = parent.routes.iter().map(compile).collect();
        for (at, mine) in all.iter().enumerate() {
            let Some(mine) = mine else { continue };
            let takes_all = |before: usize| {
                let theirs = all[before].as_ref();
                !parent.routes[before].goes_on
                    && theirs.is_some_and(|theirs| theirs.iter().all(|m| mine.contains(m)))
            };
            if let Some(before) = (0..at).find(|before| takes_all(*before)) {
                let message = format!(
                    "it is never reached: routes[{before}] before it takes every alert that it matches; set continue: true there, or take one out"
                );
                self.found.add(format!("{path}.routes[{at}]"), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(yaml: &str) -> Vec<String> {
        let config: AlertmanagerConfig = serde_saphyr::from_str(yaml).expect(yaml);
        let invalid = config.validate().err().unwrap_or_default();
        invalid.into_iter().map(|i| format!("{}: {}", i.path, i.message)).collect()
    }

    #[test]
    fn routes() {
        let with = |route: &str| problems(&format!("receivers: [{{name: a}}]\nroute: {route}"));
        assert_eq!(with("{receiver: a}"), Vec::<String>::new());
        for (route, expected) in [
            ("{}", "route: the first route has no receiver"),
            ("{receiver: b}", "route.receiver: receiver \"b\" is not defined; defined: a"),
            ("{receiver: a, match: {x: y}}", "route: the first route may have no matchers"),
            (
                "{receiver: a, routes: [{matchers: ['x']}]}",
                "route.routes[0].matchers[0]: \"x\" is not a matcher",
            ),
            (
                "{receiver: a, routes: [{match_re: {x: '('}}]}",
                "route.routes[0].match_re.x: \"(\" is not a regular",
            ),
            ("{receiver: a, group_by: [x, x]}", "route.group_by[1]: \"x\" stands here twice"),
            ("{receiver: a, group_by: [x, '...']}", "route.group_by: ... is all labels"),
            ("{receiver: a, group_interval: 0s}", "route.group_interval: 0 is not allowed"),
            (
                "{receiver: a, routes: [{mute_time_intervals: [night]}]}",
                "route.routes[0].mute_time_intervals[0]: time interval \"night\" is not defined; defined: none",
            ),
            (
                "{receiver: a, routes: [{match: {x: y}}, {matchers: ['x=y', 'z=1']}]}",
                "route.routes[1]: it is never reached: routes[0] before it",
            ),
        ] {
            let found = with(route);
            assert_eq!(found.len(), 1, "{route}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}\ninstead of\n{expected}");
        }
        assert!(
            with("{receiver: a, routes: [{match: {x: y}, continue: true}, {match: {x: y}}]}")
                .is_empty()
        );
    }

    #[test]
    fn the_rest() {
        for (yaml, expected) in [
            ("receivers: []", ": route is missing: give one with a receiver"),
            (
                "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]",
                "receivers[1].name: receiver \"a\" is defined twice",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, pushover_configs: []}]",
                "receivers[0].pushover_configs: pushover is not supported",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{target_match: {x: y}}]",
                "inhibit_rules[0]: it has no source: give source_matchers",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\ntime_intervals: [{name: n}, {name: n}]",
                "time_intervals[1].name: time interval \"n\" is defined twice",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://x'}]}]",
                "receivers[0].webhook_configs[0].url: it is not an http or https URL",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]",
                "receivers[0].webhook_configs[0].url: is missing: give url or url_file",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\nglobal: {smtp_auth_secret: tiger}",
                "global.smtp_auth_secret: CRAM-MD5 is not supported",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@example.org, auth_username: u, auth_identity: v}]}]",
                "receivers[0].email_configs[0].auth_identity: another identity than auth_username",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@example.org, tls_config: {cert_file: c, key_file: k}}]}]",
                "receivers[0].email_configs[0].tls_config.cert_file: certificates of clients",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@example.org, tls_config: {max_version: TLS12}}]}]",
                "receivers[0].email_configs[0].tls_config.max_version: a latest version",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\nglobal: {http_config: {no_proxy: localhost}}",
                "global.http_config.no_proxy: without proxy_url",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a}]\nglobal: {http_config: {tls_config: {min_version: TLS13, max_version: TLS12}}}",
                "global.http_config.tls_config.min_version: it is later than max_version",
            ),
            (
                "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@example.org}]}]",
                "receivers[0].email_configs[0].smarthost: is missing",
            ),
        ] {
            let found = problems(yaml);
            assert!(
                found.iter().any(|f| f.starts_with(expected)),
                "{found:?}\ninstead of\n{expected}"
            );
        }
    }
}
