//! What of the rules is asked for: the parameters of `/api/v1/rules`, as Prometheus 3 has them. Pure.

use watchkeep_alerting::rule::{Group, Labels, Rule, RuleKind, fingerprint};
use watchkeep_series::{Matcher, promql::Expr};

/// The rules that are meant, and how much of them.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// `alert` or `record`.
    kind: Option<String>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    /// Any of these selectors.
    labels: Vec<Vec<Matcher>>,
    /// Whether active alerts are left out.
    pub(super) exclude_alerts: bool,
    /// At most so many groups.
    limit: Option<usize>,
    /// From this group on.
    token: Option<String>,
    /// Whether anything is asked for but a page.
    is_some: bool,
}

fn wrong(name: &str, message: impl AsRef<str>) -> String {
    format!("invalid parameter {name:?}: {}", message.as_ref())
}

impl Wanted {
    /// Reads a query string.
    ///
    /// # Errors
    /// Which parameter is wrong, and what to give.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.trim_end_matches("[]") {
                "type" if !matches!(value.to_lowercase().as_str(), "" | "alert" | "record") => {
                    return Err(wrong(
                        "type",
                        format!("{value:?} is not known: give alert or record"),
                    ));
                }
                "type" => wanted.kind = Some(value.to_lowercase()).filter(|kind| !kind.is_empty()),
                "rule_name" => wanted.names.push(value),
                "rule_group" => wanted.groups.push(value),
                "file" => wanted.files.push(value),
                "match" => {
                    let selector = Expr::parse_selector(&value);
                    let selector = selector.map_err(|e| wrong("match[]", e.to_string()))?;
                    wanted.labels.push(selector);
                }
                "exclude_alerts" => {
                    wanted.exclude_alerts = match value.to_lowercase().as_str() {
                        "1" | "t" | "true" => true,
                        "" | "0" | "f" | "false" => false,
                        _ => {
                            return Err(wrong(
                                "exclude_alerts",
                                format!("{value:?}: give true or false"),
                            ));
                        }
                    };
                }
                "group_limit" if value.is_empty() => {}
                "group_limit" => {
                    let limit = value.parse::<usize>().ok().filter(|limit| *limit > 0);
                    let message =
                        || wrong("group_limit", format!("{value:?}: give a number from 1"));
                    wanted.limit = Some(limit.ok_or_else(message)?);
                }
                "group_next_token" => wanted.token = Some(value).filter(|token| !token.is_empty()),
                _ => {}
            }
        }
        if wanted.token.is_some() && wanted.limit.is_none() {
            return Err(wrong("group_next_token", "it goes with group_limit: give both"));
        }
        wanted.is_some = wanted.kind.is_some()
            || [&wanted.names, &wanted.groups, &wanted.files].iter().any(|list| !list.is_empty())
            || !wanted.labels.is_empty();
        Ok(wanted)
    }

    /// Whether rules of this group may be meant.
    pub(super) fn has_group(&self, group: &Group) -> bool {
        is_in(&self.groups, &group.name) && is_in(&self.files, &group.file)
    }

    /// Whether this rule is meant. Labels are matched as the file has them, templates unexpanded.
    pub(super) fn has_rule(&self, rule: &Rule) -> bool {
        let kind = match &rule.kind {
            RuleKind::Alert(_) => "alert",
            RuleKind::Record(_) => "record",
        };
        let label = |name: &str| rule.labels.get(name).map_or("", |text| text.raw.as_str());
        let fits = |selector: &Vec<Matcher>| selector.iter().all(|m| m.means(label(m.name())));
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
            && is_in(&self.names, rule.name())
            && (self.labels.is_empty() || self.labels.iter().any(fits))
    }

    /// Whether a group without such rules is left out.
    pub(super) fn is_some(&self) -> bool {
        self.is_some
    }

    /// The groups of the page that is asked for, and what the next one is asked for by; `shown` shows a group, none where
    /// nothing in it is meant.
    ///
    /// # Errors
    /// When the page begins with a group that is not there.
    pub(super) fn page<'a, T>(
        &self,
        groups: impl Iterator<Item = (&'a Group, T)>,
        shown: impl Fn(T) -> Option<serde_json::Value>,
    ) -> Result<(Vec<serde_json::Value>, Option<String>), String> {
        let (mut page, mut begun) = (Vec::new(), self.token.is_none());
        for (group, view) in groups {
            begun = begun || self.token.as_ref() == Some(&token(group));
            let Some(group_shown) = begun.then(|| shown(view)).flatten() else { continue };
            if self.limit == Some(page.len()) {
                return Ok((page, Some(token(group))));
            }
            page.push(group_shown);
        }
        match (begun, &self.token) {
            (false, Some(token)) => {
                let message = format!("no group has {token:?}: the rules have changed, begin anew");
                Err(wrong("group_next_token", message))
            }
            _ => Ok((page, None)),
        }
    }
}

/// What a page that begins with this group is asked for by.
fn token(group: &Group) -> String {
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    fingerprint(&Labels::from([of("file", &group.file), of("name", &group.name)]))
}

fn is_in(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use watchkeep_alerting::rule::parse_file;

    use super::*;
    use crate::rules::PromQl;

    const RULES: &str = r#"
groups:
- name: a
  labels: {team: db}
  rules:
  - {alert: A, expr: up, labels: {severity: page, where: "{{ $labels.x }}"}}
  - {record: r, expr: up}
- name: b
  rules: [{alert: B, expr: up, labels: {severity: info}}]
- name: c
  rules: [{alert: C, expr: up}]
"#;

    fn names(query: &str) -> Result<String, String> {
        let minute = Duration::from_mins(1);
        let groups = parse_file("r.yml", RULES, minute, &PromQl::default()).expect("rules");
        let wanted = Wanted::read(query)?;
        let show = |group: &Group| {
            let rules = group.rules.iter().filter(|rule| wanted.has_rule(rule));
            let names: Vec<&str> = rules.map(Rule::name).collect();
            (wanted.has_group(group) && !names.is_empty()).then(|| json!(names.join("+")))
        };
        let (page, next) = wanted.page(groups.iter().map(|group| (group, group)), show)?;
        let mut page: Vec<String> =
            page.iter().filter_map(|v| Some(v.as_str()?.to_owned())).collect();
        page.extend(next.map(|token| {
            let of = groups.iter().find(|group| super::token(group) == token);
            format!("…{}", of.expect("a group's token").name)
        }));
        Ok(page.join(" "))
    }

    #[test]
    fn what_is_asked_for() {
        for (query, expected) in [
            ("", "A+r B C"),
            ("type=alert", "A B C"),
            ("type=RECORD", "r"),
            ("rule_name[]=A&rule_name[]=C", "A C"),
            ("rule_group[]=b&file[]=r.yml", "B"),
            ("file[]=other.yml", ""),
            ("match[]={severity=\"page\"}", "A"),
            ("match[]={severity=~\"p.*\"}&match[]={severity=\"info\"}", "A B"),
            ("match[]={team=\"db\",severity=\"\"}", "r"),
            ("match[]={where=\"{{ $labels.x }}\"}", "A"),
            ("group_limit=2", "A+r B …c"),
            ("group_limit=1&rule_name[]=A", "A"),
            ("group_limit=1&rule_name[]=A&rule_name[]=C", "A …c"),
            ("group_limit=3", "A+r B C"),
        ] {
            assert_eq!(names(query).as_deref(), Ok(expected), "{query}");
        }
        for query in [
            "type=x",
            "match[]={",
            "exclude_alerts=maybe",
            "group_limit=0",
            "group_limit=x",
            "group_next_token=a",
            "group_limit=1&group_next_token=none",
        ] {
            let error = names(query).expect_err(query);
            let name = query.rsplit('&').next().and_then(|pair| pair.split('=').next());
            assert!(error.contains(name.expect("a name")), "{query}: {error}");
        }
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let minute = Duration::from_mins(1);
        let groups = parse_file("r.yml", RULES, minute, &PromQl::default()).expect("rules");
        let query = format!("group_limit=2&group_next_token={}", token(&groups[1]));
        assert_eq!(names(&query).as_deref(), Ok("B C"));
        assert!(Wanted::read("exclude_alerts=1").expect("wanted").exclude_alerts);
    }
}
