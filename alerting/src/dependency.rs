//! What depends on what, and whether it is down. Pure.
//!
//! An edge leads from a service to what it cannot work without. Circles are refused where records are written; one that got
//! in by another way silences nobody, since each of its members would be silenced by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use watchkeep_catalog::Service;

/// What a service depends on: a service, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) service: String,
    pub(crate) instance: Option<String>,
}

impl Parent {
    fn read(text: &str) -> Self {
        match text.split_once('/') {
            Some((service, instance)) => {
                Self { service: service.to_owned(), instance: Some(instance.to_owned()) }
            }
            None => Self { service: text.to_owned(), instance: None },
        }
    }
}

impl std::fmt::Display for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.service)?;
        self.instance.as_ref().map_or(Ok(()), |instance| write!(f, "/{instance}"))
    }
}

/// The first circle through the dependencies, as a path that ends where it began: `a → b → a`.
#[must_use]
pub fn circle<'a>(services: impl IntoIterator<Item = &'a Service>) -> Option<String> {
    let edges: BTreeMap<&str, Vec<Parent>> = services
        .into_iter()
        .map(|service| {
            let parents = service.depends_on.iter().map(|text| Parent::read(text)).collect();
            (service.name.as_str(), parents)
        })
        .collect();
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        let (mut path, mut next) = (vec![*start], vec![0]);
        while let (Some(at), Some(edge)) = (path.last().copied(), next.last_mut()) {
            let parent = edges.get(at).and_then(|parents| parents.get(*edge));
            *edge += 1;
            let Some(parent) = parent else {
                done.insert(at);
                path.pop();
                next.pop();
                continue;
            };
            let name = parent.service.as_str();
            if let Some(begin) = path.iter().position(|on_path| *on_path == name) {
                let circle: Vec<_> = path[begin..].iter().copied().chain([name]).collect();
                return Some(circle.join(" → "));
            }
            if !done.contains(name) {
                path.push(name);
                next.push(0);
            }
        }
    }
    None
}

/// Who depends on what.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    parents: HashMap<String, Vec<Parent>>,
    children: HashMap<String, BTreeSet<String>>,
}

impl Dependencies {
    /// Reads the services' records anew; answers with the circle on account of which there are none.
    pub(crate) fn read<'a>(
        services: impl IntoIterator<Item = &'a Service> + Clone,
    ) -> (Self, Option<String>) {
        let circle = circle(services.clone());
        let mut found = Self::default();
        if circle.is_some() {
            return (found, circle);
        }
        for service in services {
            for parent in service.depends_on.iter().map(|text| Parent::read(text)) {
                let children = found.children.entry(parent.service.clone()).or_default();
                children.insert(service.name.clone());
                found.parents.entry(service.name.clone()).or_default().push(parent);
            }
        }
        (found, None)
    }

    /// What a service depends on.
    pub(crate) fn parents(&self, service: &str) -> &[Parent] {
        self.parents.get(service).map_or(&[], Vec::as_slice)
    }

    /// The services that depend on this one.
    pub(crate) fn children(&self, service: &str) -> impl Iterator<Item = &str> {
        self.children.get(service).into_iter().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `web>db,cache db>disk`.
    fn services(text: &str) -> Vec<Service> {
        let read = |word: &str| {
            let (name, parents) = word.split_once('>').unwrap_or((word, ""));
            let parents = parents.split(',').filter(|p| !p.is_empty());
            Service { depends_on: parents.map(str::to_owned).collect(), ..Service::named(name) }
        };
        text.split_whitespace().map(read).collect()
    }

    #[test]
    fn circles_are_named() {
        for (text, path) in [
            ("", None),
            ("web>db,cache cache>db db>disk", None),
            ("a>a", Some("a → a")),
            ("a>a/one", Some("a → a")),
            ("a>b b>c/x c>a", Some("a → b → c → a")),
            ("web>db db>disk disk>db", Some("db → disk → db")),
            ("a>b,c b>d c>d d>e,b", Some("b → d → b")),
        ] {
            assert_eq!(circle(&services(text)).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn a_circle_silences_nobody() {
        let records = services("web>db/one,cache db>disk");
        let (found, circle) = Dependencies::read(&records);
        assert_eq!(circle, None);
        let parents: Vec<_> = found.parents("web").iter().map(Parent::to_string).collect();
        assert_eq!(parents, ["db/one", "cache"]);
        assert_eq!(found.children("db").collect::<Vec<_>>(), ["web"]);
        let records = services("web>db db>web");
        let (found, circle) = Dependencies::read(&records);
        assert!(circle.is_some() && found.parents("web").is_empty());
    }
}
