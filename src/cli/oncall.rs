//! `watchkeep oncall`.

use clap::Args;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::api::Node;
use crate::out;

/// Arguments of `watchkeep oncall`.
#[derive(Debug, Args)]
pub(crate) struct Oncall {
    #[command(flatten)]
    node: Node,
    /// At another time, such as 2026-01-05T09:00:00Z
    #[arg(long, value_name = "RFC3339")]
    at: Option<String>,
    /// By this schedule; by default the one that pages use
    #[arg(long)]
    schedule: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shift {
    schedule: String,
    person: String,
    until: Option<String>,
    next_person: String,
}

impl Oncall {
    /// Asks and prints.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("at", &self.at), ("schedule", &self.schedule)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let shift: Shift = self.node.api()?.get(&format!("/v1/oncall?{}", query.finish())).await?;
        let until = match shift.until {
            Some(until) => format!(" until {until}, then {}", shift.next_person),
            None => String::new(),
        };
        out::line(format_args!("{} ({}){until}", shift.person, shift.schedule));
        Ok(())
    }
}
