//! `/runbooks/{alert}`: one page per alert, from the Markdown in the folder `runbooks/`, embedded. Its commands use the
//! variables of [`VARIABLES`]; the page says first how to set them, with what the link to it knows already.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Path, Query},
    http::{HeaderMap, header::HOST},
    response::Html,
    routing,
};
use pulldown_cmark::{Options, Parser};
use rust_embed::RustEmbed;

use super::{
    html::{self, Text},
    problem::Problem,
};

#[derive(RustEmbed)]
#[folder = "runbooks/"]
struct Runbooks;

/// What the commands of runbooks may name: a variable, what it could be, and what it is. `docs/runbooks.md` lists them.
const VARIABLES: [(&str, &str, &str); 18] = [
    ("NODE", "http://127.0.0.1:8480", "any node"),
    ("WATCHKEEP_HTTP", "$NODE", "the same, for watchkeep's own commands"),
    ("ETCDCTL_ENDPOINTS", "http://10.0.0.1:2379,http://10.0.0.2:2379", "the registry's members"),
    ("WATCHKEEP_ENDPOINTS", "$ETCDCTL_ENDPOINTS", "the same, for watchkeep's own commands"),
    ("SERVICE", "web", "the service that the alert names"),
    ("INSTANCE", "web-1", "the instance that the alert names"),
    ("TARGET", "10.0.1.7:443", "host and port of the instance"),
    ("INCIDENT", "an-incident", "the incident's id"),
    ("HEARTBEAT", "nightly-backup", "the heartbeat's name"),
    ("COLLECTOR", "http://10.0.0.1:8480", "the collector that the alert names (label instance)"),
    ("PEER", "10.0.0.2:2380", "host and peer port of a member"),
    ("MEMBER", "3", "a member's number: watchkeep member list"),
    ("CALLBACK", "https://failover.example.org/db", "the failover policy's callback"),
    ("WEBHOOK", "https://pager.example.org/hook", "the receiver's webhook"),
    ("SMTP", "mail.example.org:25", "the mail server"),
    ("RECEIVER", "http://10.0.0.1:8480/api/v1/write", "the receiver of remote write"),
    ("DATA_DIR", "/var/lib/watchkeep", "the node's data directory"),
    ("RULES", "/etc/watchkeep/rules/*.yml", "the rule files"),
];
/// Longest value that a link may give a variable.
const VALUE_BYTES_MAX: usize = 200;

pub(super) fn router() -> Router {
    Router::new()
        .route("/runbooks/", routing::get(list))
        .route("/runbooks/{alert}", routing::get(get))
}

async fn list() -> Html<String> {
    let mut names: Vec<String> =
        Runbooks::iter().filter_map(|file| file.strip_suffix(".md").map(str::to_owned)).collect();
    names.sort();
    let item = |name: &String| {
        let (name, meaning) = (Text(name), Text(meaning(name)));
        format!("<li><a href=\"/runbooks/{name}\">{name}</a><br>{meaning}</li>")
    };
    let items: String = names.iter().map(item).collect();
    html::page("Runbooks", false, &format!("<h1>Runbooks</h1><ul>{items}</ul>"))
}

/// The first sentence of the section that says what an alert means.
fn meaning(name: &str) -> String {
    let text = markdown(name).unwrap_or_default();
    let section = text.split("## Meaning\n").nth(1).unwrap_or_default().trim_start();
    let paragraph = section.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    paragraph[..end].replace(['`', '*'], "")
}

/// Whether an alert has a page here.
pub(super) fn is_there(alert: &str) -> bool {
    Runbooks::get(&format!("{alert}.md")).is_some()
}

fn markdown(name: &str) -> Option<String> {
    let found = Runbooks::get(&format!("{name}.md"))?;
    Some(String::from_utf8_lossy(&found.data).into_owned())
}

async fn get(
    Path(alert): Path<String>,
    Query(known): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Html<String>, Problem> {
    let name = alert.trim_end_matches(".md");
    let text = markdown(name).ok_or_else(|| {
        Problem::not_found(format!("there is no runbook for {name:?}: /runbooks/ lists them"))
    })?;
    let node = headers.get(HOST).and_then(|host| host.to_str().ok());
    let mut values = known;
    if let Some(node) = node {
        values.entry("NODE".to_owned()).or_insert_with(|| format!("http://{node}"));
    }
    let text =
        text.replacen("\n## Check\n", &format!("\n## Check\n\n{}", first(&text, &values)), 1);
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, Parser::new_ext(&text, Options::ENABLE_TABLES));
    Ok(html::page(name, false, &body))
}

/// How to set the variables that the text uses, as Markdown.
fn first(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut lines = String::new();
    for (name, example, what) in VARIABLES {
        if !uses(text, name) {
            continue;
        }
        let known = values.get(name).filter(|value| is_plain(value));
        let value = known.map_or(example, String::as_str);
        let quoted = if value.starts_with('$') { value.to_owned() } else { format!("'{value}'") };
        let line = format!("export {name}={quoted}");
        lines += &format!("{line:<48} # {what}\n");
    }
    format!("What the commands below use:\n\n```sh\n{lines}```\n")
}

/// Whether the commands name the variable, or read it by themselves.
fn uses(text: &str, name: &str) -> bool {
    let named = |name: &str| {
        text.match_indices(&format!("${name}")).any(|(at, found)| {
            let next = text[at + found.len()..].chars().next();
            !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let own = |commands: &[&str]| {
        commands.iter().any(|command| text.contains(&format!("watchkeep {command} ")))
    };
    let (http, registry) = (["incident", "service", "oncall", "failover"], ["member", "backup"]);
    match name {
        "NODE" => named(name) || own(&http),
        "WATCHKEEP_HTTP" => own(&http),
        "ETCDCTL_ENDPOINTS" => text.contains("etcdctl ") || own(&registry),
        "WATCHKEEP_ENDPOINTS" => own(&registry),
        _ => named(name),
    }
}

/// What a shell takes as it is written between apostrophes, and a person can read.
fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/,@%+=".contains(c);
    !value.is_empty() && value.len() <= VALUE_BYTES_MAX && value.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_how_to_set_what_it_uses_and_nothing_else() {
        let values = [("SERVICE", "shop"), ("INCIDENT", "'; rm -rf /'")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let text = "`curl $NODE/v1/slo/$SERVICE`, `etcdctl get $SERVICES`, `watchkeep incident ack $INCIDENT`";
        let said = first(text, &values);
        let set: Vec<&str> =
            said.lines().filter_map(|l| l.split_once(" #").map(|l| l.0.trim())).collect();
        assert_eq!(
            set,
            [
                "export NODE='http://127.0.0.1:8480'",
                "export WATCHKEEP_HTTP=$NODE",
                "export ETCDCTL_ENDPOINTS='http://10.0.0.1:2379,http://10.0.0.2:2379'",
                "export SERVICE='shop'",
                "export INCIDENT='an-incident'",
            ]
        );
    }

    /// Mails link to the pages that are there, and to no other.
    #[test]
    fn alerting_knows_which_pages_there_are() {
        let names = Runbooks::iter().filter_map(|file| file.strip_suffix(".md").map(str::to_owned));
        let mut others: Vec<String> = names.filter(|name| !name.starts_with("Watchkeep")).collect();
        others.sort();
        assert_eq!(others, watchkeep_alerting::RUNBOOKS);
        assert!(is_there("WatchkeepNoLeader") && !is_there("PromDown") && !is_there("../README"));
    }

    #[test]
    fn the_meaning_is_one_sentence() {
        assert_eq!(
            meaning("WatchkeepNoLeader"),
            "A registry member has known no Raft leader for 10 seconds, or Prometheus scrapes no member at all."
        );
    }
}
