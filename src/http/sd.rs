//! `GET /v1/sd/prometheus`: instances as Prometheus's HTTP service discovery reads them.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{RawQuery, State},
    response::Response,
    routing,
};
use serde::Serialize;
use url::form_urlencoded;
use watchkeep_catalog::{Catalog, Scheme, Seen};

use super::{
    problem::Problem,
    reader::{Reader, indexed},
};

/// Prefix of every label.
const PREFIX: &str = "__meta_watchkeep_";
/// What can be asked for.
const FILTERS: &str = "service, tag, role, zone, healthy, scrape";

/// `GET /v1/sd/prometheus`.
pub(super) fn router(reader: Reader) -> Router {
    Router::new().route("/v1/sd/prometheus", routing::get(list)).with_state(reader)
}

/// A target group: one instance.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// Which instances are wanted. A filter given several times takes any of its values; tags must all be there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    services: Vec<String>,
    tags: Vec<String>,
    roles: Vec<String>,
    zones: Vec<String>,
    healthy: Option<bool>,
    /// Only those that say where their metrics are, with that as the target; or only those that do not.
    scrape: Option<bool>,
}

/// Reads a filter that is true or false.
fn yes_or_no(name: &str, value: &str) -> Result<Option<bool>, String> {
    let read = value.parse().map(Some);
    read.map_err(|_| format!("{name} is {value:?}: give true or false, or leave it out"))
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let list = match &*name {
                "service" => &mut wanted.services,
                "tag" => &mut wanted.tags,
                "role" => &mut wanted.roles,
                "zone" => &mut wanted.zones,
                "healthy" => {
                    wanted.healthy = yes_or_no(&name, &value)?;
                    continue;
                }
                "scrape" => {
                    wanted.scrape = yes_or_no(&name, &value)?;
                    continue;
                }
                other => {
                    return Err(format!("there is no filter {other:?}; there are: {FILTERS}"));
                }
            };
            list.push(value.into_owned());
        }
        Ok(wanted)
    }

    fn takes(&self, seen: &Seen) -> bool {
        let any = |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
        let instance = &seen.instance;
        any(&self.services, &instance.service)
            && any(&self.roles, &instance.role)
            && any(&self.zones, &instance.zone)
            && self.tags.iter().all(|tag| instance.tags.contains(tag))
            && self.healthy.is_none_or(|healthy| seen.serves() == healthy)
            && self.scrape.is_none_or(|scrape| instance.scrape.is_some() == scrape)
    }

    fn of(&self, catalog: &Catalog) -> Vec<Group> {
        let services = catalog.services().iter();
        let services = services.filter(|(name, _)| {
            self.services.is_empty() || self.services.iter().any(|s| **s == ***name)
        });
        services
            .flat_map(|(_, service)| service.instances.values())
            .filter(|seen| self.takes(seen))
            .map(|seen| group(seen, self.scrape == Some(true)))
            .collect()
    }
}

async fn list(
    State(reader): State<Reader>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&query.unwrap_or_default()).map_err(Problem::bad_request)?;
    let catalog = reader.now().await?;
    Ok(indexed(catalog.changed(), catalog.revision(), wanted.of(&catalog)))
}

/// `of_page`: the target is the page of metrics that the instance has named, where it has.
fn group(seen: &Seen, of_page: bool) -> Group {
    let i = &seen.instance;
    let page = i.scrape.as_ref().filter(|_| of_page);
    let port = page.and_then(|page| page.port).unwrap_or(i.port);
    let target = match i.address.contains(':') {
        true => format!("[{}]:{port}", i.address),
        false => format!("{}:{port}", i.address),
    };
    // Separators on both sides, so that `.*,blue,.*` matches wherever the tag stands.
    let tags = i.tags.iter().fold(String::from(","), |all, tag| all + tag + ",");
    let mut labels: BTreeMap<String, String> = [
        ("service", i.service.clone()),
        ("instance", i.id.clone()),
        ("address", i.address.clone()),
        ("port", i.port.to_string()),
        ("zone", i.zone.clone()),
        ("role", i.role.clone()),
        ("weight", i.weight.to_string()),
        ("tags", if i.tags.is_empty() { String::new() } else { tags }),
        ("status", seen.status.as_str().to_owned()),
        ("drained", seen.drained.is_some().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{PREFIX}{name}"), value))
    .collect();
    for (key, value) in &i.metadata {
        let key = key.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '_'), "_");
        labels.insert(format!("{PREFIX}metadata_{key}"), value.clone());
    }
    if let Some(page) = page {
        let (path, query) = page.path.split_once('?').unwrap_or((page.path.as_str(), ""));
        let scheme = match page.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        labels.insert("__scheme__".to_owned(), scheme.to_owned());
        labels.insert("__metrics_path__".to_owned(), path.to_owned());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            labels.insert(format!("__param_{name}"), value.into_owned());
        }
    }
    Group { targets: [target], labels }
}

#[cfg(test)]
mod tests {
    use watchkeep_catalog::{Health, Instance};

    use super::*;

    fn seen(json: &str, status: Health) -> Seen {
        let instance: Instance = serde_json::from_str(json).expect("an instance");
        Seen { status, ..Seen::judge(instance, 0, None, false) }
    }

    #[test]
    fn filters() {
        let blue = seen(
            r#"{"service":"web","id":"a","address":"::1","port":80,"zone":"eu","role":"primary",
                "tags":["blue","v2"],"metadata":{"build.id":"7"}}"#,
            Health::Passing,
        );
        for (query, takes) in [
            ("", true),
            ("service=web", true),
            ("service=db&service=web", true),
            ("service=db", false),
            ("tag=blue&tag=v2", true),
            ("tag=blue&tag=green", false),
            ("zone=eu&role=primary&healthy=true", true),
            ("zone=us", false),
            ("role=standby", false),
            ("healthy=false", false),
        ] {
            let wanted = Wanted::read(query).expect("a query");
            assert_eq!(wanted.takes(&blue), takes, "{query}");
        }
        for (query, part) in [("colour=blue", "service, tag"), ("healthy=maybe", "true or false")] {
            let error = Wanted::read(query).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let found = group(&blue, true);
        assert_eq!(found.targets, ["[::1]:80"]);
        assert!(!found.labels.contains_key("__metrics_path__"));
        let label = |name: &str| found.labels[&format!("{PREFIX}{name}")].as_str();
        assert_eq!((label("tags"), label("metadata_build_id")), (",blue,v2,", "7"));
        assert_eq!((label("status"), label("service")), ("passing", "web"));
        let page = seen(
            r#"{"service":"web","id":"b","address":"h","port":80,
                "scrape":{"scheme":"https","path":"/m?format=text","port":9100}}"#,
            Health::Passing,
        );
        let wanted = Wanted::read("scrape=true").expect("a query");
        assert!(wanted.takes(&page) && !wanted.takes(&blue));
        let found = group(&page, true);
        assert_eq!(found.targets, ["h:9100"]);
        for (name, value) in
            [("__scheme__", "https"), ("__metrics_path__", "/m"), ("__param_format", "text")]
        {
            assert_eq!(found.labels[name], value);
        }
        assert_eq!(group(&page, false).targets, ["h:80"]);
        // Not judged yet is not healthy.
        let unknown = Seen { status: Health::Unknown, ..blue };
        assert!(!Wanted::read("healthy=true").expect("a query").takes(&unknown));
    }
}
