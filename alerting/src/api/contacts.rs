//! `POST /v1/oncall/contacts/{name}/test`: a test message by each way of a person or receiver, now, and what came of each. It is
//! about no incident, and nothing is written down: whoever asks waits for the answer, and sees what arrives.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tracing::info;
use watchkeep_catalog::{Incident, Page, PageKind, Time};

use super::{Problem, changes::read};
use crate::{
    alone::unknown_id,
    clock,
    config::undefined,
    context::Context,
    incident::{self, Recipient, WATCHKEEP},
    notify::{TEST, attempt},
    text::address,
};

/// So long a way has to answer; whoever asks waits a little longer.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Asked {
    by: String,
}

#[derive(Serialize)]
pub(super) struct Tested {
    name: String,
    ways: Vec<Way>,
}

#[derive(Serialize)]
struct Way {
    channel: String,
    to: String,
    /// Why it was not taken; none: it was.
    error: Option<String>,
}

pub(super) async fn test(
    State(context): State<Arc<Context>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Tested>, Problem> {
    let Asked { by } = read(&body, "{\"by\": \"alice\"}")?;
    incident::check_by(&by).map_err(Problem::bad_request)?;
    let ways = context.rules.other_ways(&name, "");
    if ways.is_empty() {
        let defined: Vec<_> = context.rules.contacts.keys().map(String::as_str).collect();
        return Err(Problem::not_found(undefined("person or receiver", &name, &defined)));
    }
    let incident = about(&name, &by, &ways, clock::now());
    let calls = incident.pages.iter().map(|page| call(&context, &incident, page));
    let ways = join_all(calls).await;
    let failed = ways.iter().filter(|way| way.error.is_some()).count();
    info!(to = name, by, ways = ways.len(), failed, "a test message was sent");
    Ok(Json(Tested { name, ways }))
}

async fn call(context: &Context, incident: &Incident, page: &Page) -> Way {
    let sent = tokio::time::timeout(PATIENCE, attempt(context, incident, page)).await;
    let error = match sent {
        Ok(sent) => sent.err(),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Way { channel: page.channel.clone(), to: address(&page.to), error }
}

/// What the message is about: nothing that the registry knows.
fn about(name: &str, by: &str, ways: &[Recipient], now: Time) -> Incident {
    let id = unknown_id(&format!("{TEST}/{name}/{}", now.timestamp_micros()));
    let title = format!("this is how {name} is told of incidents");
    let mut incident = Incident::new(id, title, "", "info", now, now);
    let text = format!("{by} asked for this message. Nothing is wrong, and nothing is to be done.");
    incident.details.insert("description".to_owned(), text);
    incident::note(&mut incident, now, WATCHKEEP, format!("a test, asked for by {by}"));
    incident::page(&mut incident, TEST, PageKind::Firing, ways);
    incident
}
