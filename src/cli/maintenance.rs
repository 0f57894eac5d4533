//! `watchkeep maintenance add | list | remove`.

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use watchkeep_catalog::{Maintenance as Record, Scope, Time};

use super::{api::Node, way::moment};
use crate::out;

/// `watchkeep maintenance …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// Say that something may be broken for a while: nobody is told, nothing is failed over
    Add(Box<Add>),
    /// List the windows that are open or to come
    List(List),
    /// End a window, or remove it before it begins
    Remove(Remove),
}

/// Arguments of `watchkeep maintenance add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    node: Node,
    /// Its id; by default one is made up
    #[arg(long)]
    id: Option<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["service", "instance", "check", "tag"])]
    all: bool,
    /// Instances of this service
    #[arg(long)]
    service: Option<String>,
    /// Instances of this id
    #[arg(long)]
    instance: Option<String>,
    /// Checks of this name
    #[arg(long)]
    check: Option<String>,
    /// Instances with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Its beginning; by default now
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: Option<Time>,
    /// Its end; with --schedule the end of all of them
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    to: Option<Time>,
    /// Its length, such as 90s, 30m, 2h, 1d; with --schedule the length of each
    #[arg(long = "for", value_name = "LENGTH", value_parser = seconds)]
    length: Option<u64>,
    /// Again and again: a cron line at whose ticks a window begins
    #[arg(long, value_name = "CRON", requires = "length")]
    schedule: Option<String>,
    /// IANA name of the zone on whose clock the schedule is read; by default UTC
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    time_zone: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    comment: String,
    /// Who says so
    #[arg(long, env = "USER", default_value = "")]
    by: String,
}

/// Arguments of `watchkeep maintenance list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    node: Node,
    /// Also those that are over
    #[arg(long)]
    all: bool,
}

/// Arguments of `watchkeep maintenance remove`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    node: Node,
    /// The window
    id: String,
}

/// `90s`, `30m`, `2h`, `1d`, or a sum of them: `1h30m`.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a length: write it as 90s, 30m, 1h30m, 1d");
    let (mut total, mut number) = (0_u64, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|s| total.checked_add(s)).ok_or_else(wrong)?;
    }
    if total == 0 || !number.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

#[derive(Debug, Deserialize)]
struct Span {
    from: Time,
    to: Time,
}

#[derive(Debug, Deserialize)]
struct Row {
    open: Option<Span>,
    next: Option<Span>,
    configured: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Rows {
    maintenance: Vec<Row>,
}

impl Maintenance {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => list.run().await,
            Self::Remove(remove) => {
                watchkeep_catalog::check_name("maintenance window", &remove.id)?;
                let path = format!("/v1/maintenance/{}", remove.id);
                remove.node.api()?.call::<Value>(Method::DELETE, &path, None::<&()>).await?;
                out::line(format_args!("{} ended", remove.id));
                Ok(())
            }
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<()> {
        if self.schedule.is_none() && self.to.is_some() == self.length.is_some() {
            bail!("give either --to or --for: until when it lasts, or how long");
        }
        let record = Record {
            id: self.id.unwrap_or_default(),
            scope: Scope {
                all: self.all,
                service: self.service,
                instance: self.instance,
                check: self.check,
                tag: self.tag,
            },
            from: self.from,
            to: self.to,
            schedule: self.schedule,
            duration_seconds: self.length,
            time_zone: self.time_zone,
            author: self.by,
            comment: self.comment,
        };
        let row: Row = self.node.api()?.post("/v1/maintenance", &json!(record)).await?;
        out::line(format_args!("{} {}", row.id(), row.when()));
        Ok(())
    }
}

impl Row {
    fn id(&self) -> &str {
        self.rest.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    fn record(&self) -> Option<Record> {
        serde_json::from_value(Value::Object(self.rest.clone())).ok()
    }

    fn when(&self) -> String {
        let time = |time: Time| time.format("%Y-%m-%d %H:%M:%SZ").to_string();
        match (&self.open, &self.next) {
            (Some(open), _) => format!("open until {}", time(open.to)),
            (None, Some(next)) => format!("from {} until {}", time(next.from), time(next.to)),
            (None, None) => "over".to_owned(),
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let path = format!("/v1/maintenance?all={}", self.all);
        let answer: Rows = self.node.api()?.get(&path).await?;
        let mut rows =
            vec![["WINDOW", "WHEN", "SCOPE", "BY", "COMMENT"].map(str::to_owned).to_vec()];
        rows.extend(answer.maintenance.iter().filter_map(|row| {
            let record = row.record()?;
            let by = if row.configured { "configuration".to_owned() } else { record.author };
            let when = match &record.schedule {
                Some(line) => {
                    let zone = record.time_zone.as_deref().unwrap_or("UTC");
                    format!("{}, by {line} ({zone})", row.when())
                }
                None => row.when(),
            };
            Some(vec![record.id, when, words(&record.scope), by, record.comment])
        }));
        out::table(&rows);
        Ok(())
    }
}

/// A scope in words.
fn words(scope: &Scope) -> String {
    let parts = [
        ("service", &scope.service),
        ("instance", &scope.instance),
        ("check", &scope.check),
        ("tag", &scope.tag),
    ];
    let said = parts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    let said: Vec<String> = said.collect();
    if said.is_empty() { "everything".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, read) in [
            ("90s", Some(90)),
            ("1h30m", Some(5_400)),
            ("1d", Some(86_400)),
            ("", None),
            ("0s", None),
            ("90", None),
            ("h", None),
            ("1w", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(seconds(text).ok(), read, "{text}");
        }
    }
}
