//! `watchkeep oncall [who | show | override | swap | changes | remove | test]`.

use anyhow::bail;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{ChangeKind, ScheduleChange, Time, check_name};

use super::api::Node;
use crate::out;

/// Arguments of `watchkeep oncall`; without a subcommand it is `who`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Oncall {
    #[command(flatten)]
    who: Who,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Who is on call
    Who(Who),
    /// The final schedule: who is on call when, with everything people changed
    Show(Show),
    /// Somebody else is on call for a while
    Override(Override),
    /// Offer one's shifts to a colleague, or take what one offers
    Swap(Swap),
    /// What people changed in a schedule
    Changes(Changes),
    /// Take a change back
    Remove(Remove),
    /// Send somebody a test message by each of their ways, now
    Test(Test),
}

/// Arguments of `watchkeep oncall who`.
#[derive(Debug, Args)]
struct Who {
    #[command(flatten)]
    node: Node,
    /// At another time, such as 2026-01-05T09:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    at: Option<String>,
    /// By this schedule; by default by each
    #[arg(long)]
    schedule: Option<String>,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    node: Node,
    /// The schedule
    schedule: String,
    /// From then on; by default now
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: Option<String>,
    /// Until then; by default two weeks later
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    to: Option<String>,
}

#[derive(Debug, Args)]
struct Override {
    #[command(flatten)]
    node: Node,
    /// The schedule
    schedule: String,
    /// Who is on call instead
    #[arg(long)]
    person: String,
    /// From then on
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    from: String,
    /// Until then
    #[arg(long, value_name = "RFC3339", value_parser = instant)]
    to: String,
    /// Who says so
    #[arg(long, env = "USER")]
    by: String,
    /// Why
    #[arg(long, default_value = "")]
    comment: String,
}

#[derive(Debug, Args)]
struct Swap {
    #[command(flatten)]
    node: Node,
    /// The schedule
    schedule: String,
    /// Take this offered swap
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to", "with", "back_from", "back_to"])]
    take: Option<String>,
    /// Offer the own shifts from then on
    #[arg(long, value_name = "RFC3339", value_parser = instant, required_unless_present = "take")]
    from: Option<String>,
    /// Until then
    #[arg(long, value_name = "RFC3339", value_parser = instant, required_unless_present = "take")]
    to: Option<String>,
    /// Somebody who has agreed already
    #[arg(long, value_name = "PERSON")]
    with: Option<String>,
    /// In return the own are the taker's shifts from then on
    #[arg(long, value_name = "RFC3339", value_parser = instant, requires = "back_to")]
    back_from: Option<String>,
    /// Until then
    #[arg(long, value_name = "RFC3339", value_parser = instant, requires = "back_from")]
    back_to: Option<String>,
    /// Who offers, or takes
    #[arg(long, env = "USER")]
    by: String,
}

#[derive(Debug, Args)]
struct Changes {
    #[command(flatten)]
    node: Node,
    /// The schedule
    schedule: String,
}

#[derive(Debug, Args)]
struct Remove {
    #[command(flatten)]
    node: Node,
    /// The schedule
    schedule: String,
    /// The change
    id: String,
}

#[derive(Debug, Args)]
struct Test {
    #[command(flatten)]
    node: Node,
    /// A person or a receiver
    name: String,
    /// Who asks
    #[arg(long, env = "USER")]
    by: String,
}

#[derive(Debug, Deserialize)]
struct Tested {
    ways: Vec<Way>,
}

#[derive(Debug, Deserialize)]
struct Way {
    channel: String,
    to: String,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shift {
    schedule: String,
    person: Option<String>,
    until: Option<String>,
    next_person: Option<String>,
    #[serde(default)]
    registry_lost: bool,
}

#[derive(Debug, Deserialize)]
struct Names {
    schedules: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Duty {
    person: Option<String>,
    from: Time,
    to: Time,
    by: String,
}

#[derive(Debug, Deserialize)]
struct Final {
    shifts: Vec<Duty>,
    #[serde(default)]
    registry_lost: bool,
}

#[derive(Debug, Deserialize)]
struct Changed {
    changes: Vec<ScheduleChange>,
}

impl Oncall {
    /// Asks and prints.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            None => self.who.run().await,
            Some(Command::Who(who)) => who.run().await,
            Some(Command::Show(show)) => show.run().await,
            Some(Command::Override(change)) => change.run().await,
            Some(Command::Swap(swap)) => swap.run().await,
            Some(Command::Changes(changes)) => changes.run().await,
            Some(Command::Remove(remove)) => remove.run().await,
            Some(Command::Test(test)) => test.run().await,
        }
    }
}

/// An instant, as the API takes it.
fn instant(text: &str) -> Result<String, String> {
    let at: Time = text
        .parse()
        .map_err(|_| "write it as 2026-01-05T09:00:00Z, or 2026-01-05T10:00:00+01:00")?;
    Ok(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// `?name=value&…`; nothing where none is given.
fn query(pairs: &[(&str, &Option<String>)]) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    }
}

/// Without the parts of a second, which nobody hands over at.
fn seconds(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn path(schedule: &str, rest: &str) -> anyhow::Result<String> {
    check_name("schedule", schedule)?;
    Ok(format!("/v1/oncall/schedules/{schedule}{rest}"))
}

impl Who {
    async fn run(self) -> anyhow::Result<()> {
        let api = self.node.api()?;
        let names = match self.schedule {
            Some(name) => vec![Some(name)],
            None => {
                let Names { schedules } = api.get("/v1/oncall/schedules").await?;
                // Where there is none, the API says what to do about it.
                if schedules.is_empty() {
                    vec![None]
                } else {
                    schedules.into_iter().map(Some).collect()
                }
            }
        };
        for name in names {
            let query = query(&[("at", &self.at), ("schedule", &name)]);
            let shift: Shift = api.get(&format!("/v1/oncall{query}")).await?;
            let until = match (shift.until, shift.next_person) {
                (Some(until), Some(next)) => format!(" until {until}, then {next}"),
                (Some(until), None) => format!(" until {until}"),
                (None, _) => String::new(),
            };
            let person = shift.person.as_deref().unwrap_or("nobody");
            out::line(format_args!("{person} ({}){until}", shift.schedule));
            warn(shift.registry_lost);
        }
        Ok(())
    }
}

/// What is known may be old.
fn warn(registry_lost: bool) {
    if registry_lost {
        eprintln!("the registry does not answer: this is as the node knew it last");
    }
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let query = query(&[("from", &self.from), ("to", &self.to)]);
        let path = path(&self.schedule, &query)?;
        let answer: Final = self.node.api()?.get(&path).await?;
        let mut rows = vec![["FROM", "TO", "PERSON", "BY"].map(str::to_owned).to_vec()];
        rows.extend(answer.shifts.into_iter().map(|Duty { person, from, to, by }| {
            vec![seconds(from), seconds(to), person.unwrap_or_else(|| "nobody".to_owned()), by]
        }));
        out::table(&rows);
        warn(answer.registry_lost);
        Ok(())
    }
}

impl Override {
    async fn run(self) -> anyhow::Result<()> {
        let body = json!({"kind": "override", "person": self.person, "from": self.from, "to": self.to,
                          "by": self.by, "comment": self.comment});
        create(&self.node, &self.schedule, &body).await
    }
}

async fn create(node: &Node, schedule: &str, body: &Value) -> anyhow::Result<()> {
    let path = path(schedule, "/changes")?;
    let change: ScheduleChange = node.api()?.post(&path, body).await?;
    out::line(format_args!("{}: {}", change.id, words(&change)));
    Ok(())
}

impl Swap {
    async fn run(self) -> anyhow::Result<()> {
        if let Some(id) = self.take {
            check_name("change", &id)?;
            let path = path(&self.schedule, &format!("/changes/{id}/take"))?;
            let change: ScheduleChange =
                self.node.api()?.post(&path, &json!({"by": self.by})).await?;
            out::line(format_args!("{}: {}", change.id, words(&change)));
            return Ok(());
        }
        let mut body = json!({"kind": "swap", "giver": self.by, "taker": self.with, "by": self.by,
                              "from": self.from, "to": self.to});
        if let (Some(from), Some(to)) = (self.back_from, self.back_to) {
            body["back"] = json!({"from": from, "to": to});
        }
        create(&self.node, &self.schedule, &body).await
    }
}

impl Changes {
    async fn run(self) -> anyhow::Result<()> {
        let path = path(&self.schedule, "/changes")?;
        let answer: Changed = self.node.api()?.get(&path).await?;
        let head = ["ID", "FROM", "TO", "WHAT", "BY", "COMMENT"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(answer.changes.iter().map(|change| {
            let (from, to) = (seconds(change.from), seconds(change.to));
            let comment = change.comment.split_whitespace().collect::<Vec<_>>().join(" ");
            vec![change.id.clone(), from, to, words(change), change.by.clone(), comment]
        }));
        out::table(&rows);
        Ok(())
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<()> {
        check_name("change", &self.id)?;
        let path = path(&self.schedule, &format!("/changes/{}", self.id))?;
        let answer: Value = self.node.api()?.call(Method::DELETE, &path, None::<&()>).await?;
        if !answer.is_null() {
            bail!("{path}: unexpected answer {answer}");
        }
        out::line(format_args!("{} removed", self.id));
        Ok(())
    }
}

impl Test {
    async fn run(self) -> anyhow::Result<()> {
        check_name("person", &self.name)?;
        let path = format!("/v1/oncall/contacts/{}/test", self.name);
        let Tested { ways } = self.node.api()?.post(&path, &json!({"by": self.by})).await?;
        let mut rows = vec![["BY", "TO", "RESULT"].map(str::to_owned).to_vec()];
        let failed = ways.iter().filter(|way| way.error.is_some()).count();
        let all = ways.len();
        rows.extend(ways.into_iter().map(|Way { channel, to, error }| {
            vec![channel, to, error.unwrap_or_else(|| "sent".to_owned())]
        }));
        out::table(&rows);
        if failed > 0 {
            bail!("{}: {failed} of {all} ways do not work", self.name);
        }
        Ok(())
    }
}

/// What a change does.
fn words(change: &ScheduleChange) -> String {
    match &change.change {
        ChangeKind::Override { person } => format!("{person} is on call"),
        ChangeKind::Swap { giver, taker: None, .. } => format!("{giver} offers shifts"),
        ChangeKind::Swap { giver, taker: Some(taker), .. } => {
            format!("{taker} takes {giver}'s shifts")
        }
        ChangeKind::Temporary { shifts } => format!("{} temporary shifts", shifts.len()),
    }
}
