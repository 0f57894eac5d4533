//! `/v1/links/{token}`: where the links in mails lead. `GET` shows a page with a button and changes nothing; `POST` is the
//! button.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tracing::{info, warn};
use watchkeep_catalog::{Incident, IncidentStatus, keys};

use crate::{
    clock,
    context::Context,
    failover::control,
    incident::{self, Action, Refusal},
    link::{Link, LinkError, Purpose},
    store::{self, StoreError},
    text::{self, escape},
};

/// The page before the button.
pub(super) async fn show(
    State(context): State<Arc<Context>>,
    Path(token): Path<String>,
) -> Response {
    let link = match read(&context, &token) {
        Ok(link) => link,
        Err(refusal) => return refusal,
    };
    match context.client.get(&keys::incident(&link.incident)).await {
        Ok(Some(kv)) => match kv.json::<Incident>() {
            Ok(incident) => page(StatusCode::OK, &incident.title, &question(&link, &incident)),
            Err(error) => sorry(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Ok(None) => sorry(StatusCode::NOT_FOUND, "This incident is not on record any more."),
        Err(error) => sorry(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// The button.
pub(super) async fn press(
    State(context): State<Arc<Context>>,
    Path(token): Path<String>,
) -> Response {
    let link = match read(&context, &token) {
        Ok(link) => link,
        Err(refusal) => return refusal,
    };
    let (now, by) = (clock::now(), link.by.clone());
    let action = match link.purpose {
        Purpose::Acknowledge => Action::Acknowledge { by },
        Purpose::Resolve => Action::Resolve { by, text: String::new() },
        Purpose::Approve | Purpose::Abort => return decide(&context, &link).await,
    };
    let change = |incident: &mut Incident| {
        link.spend(incident).map_err(|error| Refusal::Senseless(error.to_string()))?;
        incident::act(incident, &action, &context.rules, now)?;
        Ok(true)
    };
    match store::update_incident(&context.client, None, &link.incident, change).await {
        Ok(incident) => {
            info!(
                incident = link.incident,
                by = link.by,
                purpose = link.purpose.as_str(),
                "a link was used"
            );
            page(StatusCode::OK, &incident.record.title, &thanks(&incident.record))
        }
        Err(StoreError::Refused(refusal)) => {
            warn!(incident = link.incident, by = link.by, %refusal, "a link was refused");
            sorry(StatusCode::CONFLICT, &refusal.to_string())
        }
        Err(StoreError::Missing(what)) => {
            sorry(StatusCode::NOT_FOUND, &format!("{what} does not exist."))
        }
        Err(error) => sorry(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// The button of a failover.
async fn decide(context: &Context, link: &Link) -> Response {
    let known = context.client.get(&keys::incident(&link.incident)).await;
    let incident = known.ok().flatten().and_then(|kv| kv.json::<Incident>().ok());
    let Some(id) = incident.and_then(|incident| incident.failover) else {
        return sorry(StatusCode::NOT_FOUND, "There is no such failover any more.");
    };
    let spend = |incident: &mut Incident| {
        link.spend(incident).map_err(|error| Refusal::Senseless(error.to_string()))
    };
    let (client, now) = (&context.client, clock::now());
    let done = match link.purpose {
        Purpose::Approve => control::approve(client, &id, &link.by, now, spend).await,
        _ => control::abort(client, &id, &link.by, now, spend).await,
    };
    match done {
        Ok(failover) => {
            info!(failover = id, by = link.by, purpose = link.purpose.as_str(), "a link was used");
            let text = match link.purpose {
                Purpose::Approve => {
                    "It is confirmed: its guards are asked once more, then it begins."
                }
                _ => "It is ended.",
            };
            let title = format!("Failover {}", failover.record.policy);
            page(StatusCode::OK, &title, &format!("<p>{}</p>", escape(text)))
        }
        Err(StoreError::Refused(refusal)) => {
            warn!(failover = id, by = link.by, %refusal, "a link was refused");
            sorry(StatusCode::CONFLICT, &refusal.to_string())
        }
        Err(StoreError::Missing(what)) => {
            sorry(StatusCode::NOT_FOUND, &format!("{what} does not exist."))
        }
        Err(error) => sorry(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

#[expect(clippy::result_large_err, reason = "the error is the answer, and made once a request")]
fn read(context: &Context, token: &str) -> Result<Link, Response> {
    let Some(secret) = &context.link_secret else {
        return Err(sorry(
            StatusCode::NOT_FOUND,
            "Links are switched off here: set pages.link_secret_file.",
        ));
    };
    Link::read(secret, token, clock::now()).map_err(|error| {
        warn!(%error, "a link was refused");
        let status = match error {
            LinkError::Forged => StatusCode::FORBIDDEN,
            LinkError::Expired(_) => StatusCode::GONE,
            LinkError::Used => StatusCode::CONFLICT,
        };
        sorry(status, &error.to_string())
    })
}

fn question(link: &Link, incident: &Incident) -> String {
    let by = escape(&link.by);
    let (verb, open) = match (link.purpose, incident.status) {
        (_, IncidentStatus::Resolved) => ("", false),
        _ if link.is_spent(incident) => ("", false),
        (Purpose::Acknowledge, IncidentStatus::Acknowledged)
            if incident.acknowledged_by.as_ref() == Some(&link.by)
                && incident.snoozed_until.is_none() =>
        {
            ("", false)
        }
        (Purpose::Acknowledge, _) => ("Acknowledge", true),
        (Purpose::Resolve, _) => ("Resolve", true),
        (Purpose::Approve, _) => ("Confirm the failover", true),
        (Purpose::Abort, _) => ("End the failover", true),
    };
    let button = if open {
        format!("<form method=\"post\"><button>{verb} as {by}</button></form>")
    } else if incident.status != IncidentStatus::Resolved && link.is_spent(incident) {
        "<p>This link has been used already: each works once.</p>".to_owned()
    } else {
        "<p>Nothing is left to do.</p>".to_owned()
    };
    format!("{}{button}", state(incident))
}

fn thanks(incident: &Incident) -> String {
    format!("<p class=\"done\">Done.</p>{}", state(incident))
}

fn state(incident: &Incident) -> String {
    let text = match (incident.status, &incident.acknowledged_by, incident.resolved_at) {
        (IncidentStatus::Resolved, _, Some(at)) => format!("Resolved at {}.", text::clock(at)),
        (IncidentStatus::Acknowledged, Some(by), _) => format!("{by} has taken it."),
        _ => format!("Nobody has taken it yet. It began at {}.", text::clock(incident.started_at)),
    };
    format!("<p>{}</p>", escape(&text))
}

fn sorry(status: StatusCode, text: &str) -> Response {
    page(status, "This did not work", &format!("<p>{}</p>", escape(text)))
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;padding:16px;background:#f4f4f5;color:#1c1c1e;font:17px/1.5 system-ui,sans-serif}\
main{max-width:32rem;margin:0 auto;padding:20px;background:#fff;border-radius:10px}\
h1{font-size:20px;line-height:1.3;margin:0 0 12px;overflow-wrap:anywhere}\
button{font:600 18px system-ui,sans-serif;width:100%;padding:14px;border:0;border-radius:8px;background:#0b57d0;color:#fff}\
.done{color:#1b7a2f;font-weight:600}\
@media(prefers-color-scheme:dark){body{background:#111113;color:#ececee}main{background:#1f1f22}.done{color:#7bd88f}}";

/// A page of its own: no script, nothing from elsewhere, not in a frame, in no cache.
fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (status, headers, html).into_response()
}
