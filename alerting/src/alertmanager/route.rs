//! The route tree, compiled: which receivers an alert goes to, and in which group. Pure.

use std::collections::BTreeSet;

use watchkeep_catalog::LabelSet;

use super::{
    config::{self, Span},
    matcher::{self, Matcher, Op},
};

#[cfg(test)]
mod peer;

/// All labels, in `group_by`.
pub(crate) const ALL: &str = "...";

/// Which labels make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupBy {
    All,
    Names(BTreeSet<String>),
}

impl GroupBy {
    /// The labels of a group that such an alert is in. A label that is missing is not among them.
    pub(crate) fn labels(&self, labels: &LabelSet) -> LabelSet {
        match self {
            Self::All => labels.clone(),
            Self::Names(names) => {
                let named = labels.iter().filter(|(name, _)| names.contains(*name));
                named.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        }
    }
}

/// A node of the tree with everything it has from its parents.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// The matchers from the root to here: `{}/{a="b"}`.
    pub(crate) key: String,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) receiver: String,
    pub(crate) group_by: GroupBy,
    pub(crate) group_wait: Span,
    pub(crate) group_interval: Span,
    pub(crate) repeat_interval: Span,
    pub(crate) mute: Vec<String>,
    pub(crate) active: Vec<String>,
    goes_on: bool,
    children: Vec<usize>,
}

/// The tree. Routes are known by their numbers; 0 is the root.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) routes: Vec<Route>,
}

impl Tree {
    /// # Errors
    /// When a matcher cannot be read.
    pub(crate) fn new(root: &config::Route) -> Result<Self, String> {
        let defaults = Route {
            key: String::new(),
            matchers: Vec::new(),
            receiver: String::new(),
            group_by: GroupBy::Names(BTreeSet::new()),
            group_wait: Span::seconds(30),
            group_interval: Span::seconds(300),
            repeat_interval: Span::seconds(4 * 3_600),
            mute: Vec::new(),
            active: Vec::new(),
            goes_on: false,
            children: Vec::new(),
        };
        let mut tree = Self { routes: Vec::new() };
        tree.add(root, &defaults)?;
        Ok(tree)
    }

    fn add(&mut self, config: &config::Route, parent: &Route) -> Result<usize, String> {
        let matchers = matchers(&config.equal, &config.regex, &config.matchers)?;
        let shown = matcher::show(&matchers);
        let key = match parent.key.as_str() {
            "" => shown,
            above => format!("{above}/{shown}"),
        };
        let group_by = match config.group_by.as_deref() {
            None | Some([]) => parent.group_by.clone(),
            Some(names) if names.iter().any(|name| name == ALL) => GroupBy::All,
            Some(names) => GroupBy::Names(names.iter().cloned().collect()),
        };
        let route = Route {
            key,
            matchers,
            receiver: config.receiver.clone().unwrap_or_else(|| parent.receiver.clone()),
            group_by,
            group_wait: config.group_wait.unwrap_or(parent.group_wait),
            group_interval: config.group_interval.unwrap_or(parent.group_interval),
            repeat_interval: config.repeat_interval.unwrap_or(parent.repeat_interval),
            mute: config.mute_time_intervals.clone(),
            active: config.active_time_intervals.clone(),
            goes_on: config.goes_on,
            children: Vec::new(),
        };
        let at = self.routes.len();
        self.routes.push(route.clone());
        for child in &config.routes {
            let child = self.add(child, &route)?;
            self.routes[at].children.push(child);
        }
        Ok(at)
    }

    /// The routes that such an alert takes: the deepest that match, and behind each one its next siblings where it
    /// goes on.
    pub(crate) fn matching(&self, labels: &LabelSet) -> Vec<usize> {
        let mut found = Vec::new();
        self.collect(0, labels, &mut found);
        found
    }

    /// Whether the route at `at` matches; if so what it leads to is in `found`.
    fn collect(&self, at: usize, labels: &LabelSet, found: &mut Vec<usize>) -> bool {
        let route = &self.routes[at];
        if !matcher::all_match(&route.matchers, labels) {
            return false;
        }
        let before = found.len();
        for child in &route.children {
            if self.collect(*child, labels, found) && !self.routes[*child].goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }
}

/// All three ways to write matchers, sorted as Alertmanager sorts them.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn matchers(
    equal: &std::collections::BTreeMap<String, String>,
    regex: &std::collections::BTreeMap<String, String>,
    texts: &[String],
) -> Result<Vec<Matcher>, String> {
    let mut matchers = Vec::new();
    for (name, value) in equal {
        matchers.push(Matcher::new(name, Op::Equal, value)?);
    }
    for (name, value) in regex {
        matchers.push(Matcher::anchored(name, value)?);
    }
    for text in texts {
        matchers.extend(matcher::parse_all(text)?);
    }
    matchers.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
    Ok(matchers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
receiver: default
group_by: [alertname]
group_wait: 10s
routes:
- matchers: ['team="db"']
  receiver: db
  group_interval: 1m
  mute_time_intervals: [night]
  routes:
  - match: {severity: critical}
    receiver: db-page
    continue: true
    group_by: ['...']
  - match_re: {severity: 'critical|warning'}
    receiver: db-mail
- match: {team: web}
  receiver: web
  group_by: []
"#;

    fn tree() -> Tree {
        Tree::new(&serde_saphyr::from_str(CONFIG).expect("YAML")).expect("a tree")
    }

    fn labels(text: &str) -> LabelSet {
        let pairs = text.split(',').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap()).map(|(n, v)| (n.into(), v.into())).collect()
    }

    #[test]
    fn the_deepest_match_is_taken() {
        let tree = tree();
        for (alert, receivers) in [
            ("", vec!["default"]),
            ("team=db", vec!["db"]),
            ("team=db,severity=critical", vec!["db-page", "db-mail"]),
            ("team=db,severity=warning", vec!["db-mail"]),
            ("team=web,severity=critical", vec!["web"]),
        ] {
            let found = tree.matching(&labels(alert));
            let found: Vec<_> = found.iter().map(|at| tree.routes[*at].receiver.as_str()).collect();
            assert_eq!(found, receivers, "{alert}");
        }
    }

    #[test]
    fn what_is_not_said_is_the_parents() {
        let tree = tree();
        let page = &tree.routes[2];
        assert_eq!(page.key, r#"{}/{team="db"}/{severity="critical"}"#);
        assert_eq!((page.group_wait, page.group_interval), (Span::seconds(10), Span::seconds(60)));
        assert_eq!(page.group_by, GroupBy::All);
        assert!(page.mute.is_empty(), "times are not inherited");
        let web = &tree.routes[4];
        assert_eq!(web.group_by.labels(&labels("alertname=x,team=web")), labels("alertname=x"));
    }
}
