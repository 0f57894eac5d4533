//! `?at=`: `/v1/services…` as it was. The registry keeps the history of every key until it is compacted.
//!
//! History is asked by revision, and people ask by time. The alerting leader marks the time in one key, once a second while
//! anything changes; so the key's own history leads from times to revisions:
//!
//! ```text
//! revision  40 clock 09:00:00   41 verdict   42 clock 09:00:01   …   (nothing changes)   …   43 opinion   44 clock 11:30:00
//! at 09:00:00.7 → 40    at 10:15 → 42    at 08:00 → 410, available from 09:00:00
//! ```

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use url::form_urlencoded;
use watchkeep_catalog::{
    Client, ClientError, Clock, KeyValue, Opinion, Panic, Service, Time, check_name, keys,
};

use super::{
    health::{self, Seen},
    problem::Problem,
    services::{Summary, summaries},
};

/// Clocks differ a little: so much later than now is still now.
const AHEAD_MAX: chrono::TimeDelta = chrono::TimeDelta::seconds(5);

/// Answers what asks for the past; the rest goes on.
pub(super) async fn travel(
    State(client): State<Client>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let uri = request.uri();
    let path = uri.path().strip_prefix("/v1/services");
    let Some(path) = path.filter(|path| path.is_empty() || path.starts_with('/')) else {
        return Ok(next.run(request).await);
    };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let Some((_, at)) = query.iter().find(|(name, _)| name == "at") else {
        return Ok(next.run(request).await);
    };
    let mut healthy = None;
    for (name, value) in query.iter().filter(|(name, _)| name != "at") {
        healthy = match (name.as_str(), value.parse::<bool>()) {
            ("healthy", Ok(healthy)) => Some(healthy),
            _ => {
                return Err(Problem::bad_request(format!(
                    "{name}={value}: with at only healthy=true or healthy=false goes"
                )));
            }
        };
    }
    if request.method() != Method::GET {
        return Err(Problem::bad_request("at asks for the past, which cannot be changed: use GET"));
    }
    let at = read_time(at, chrono::Utc::now()).map_err(Problem::bad_request)?;
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    for part in &parts {
        check_name("service or instance", part)?;
    }
    match parts[..] {
        [] => Past::read(&client, at, "").await?.services(),
        [service] => Past::read(&client, at, service).await?.service(service),
        [service, "instances"] => {
            Past::read(&client, at, service).await?.instances(service, healthy)
        }
        [service, "instances", id] => Past::read(&client, at, service).await?.instance(service, id),
        _ => Err(Problem::not_found(format!("/v1/services{path}: there is no past of it"))),
    }
}

/// RFC 3339, or seconds since 1970.
fn read_time(text: &str, now: Time) -> Result<Time, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let at = match seconds {
        Some(seconds) => Time::from_timestamp_micros((seconds * 1e6) as i64),
        // A plus that was not escaped is read as a space.
        None => text.replace(' ', "+").parse().ok(),
    };
    match at {
        None => Err(format!(
            "at is {text:?}: give a time like 2026-01-05T09:00:00Z, or seconds since 1970"
        )),
        Some(at) if at > now + AHEAD_MAX => {
            let now = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            Err(format!("at is {text}, which is still to come: it is {now}"))
        }
        Some(at) => Ok(at),
    }
}

/// The mark that says how things were at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Mark {
    /// What was asked for.
    at: Time,
    /// The mark's own time: what is shown is as of then.
    as_of: Time,
    revision: i64,
}

/// Why there is none.
enum NoMark {
    /// The oldest that there is, if there is any.
    From(Option<Time>),
    Failed(ClientError),
}

impl From<ClientError> for NoMark {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

impl From<NoMark> for Problem {
    fn from(none: NoMark) -> Self {
        let message = match none {
            NoMark::Failed(error) => return error.into(),
            NoMark::From(Some(from)) => format!(
                "that is not known any more, or not yet: history reaches back to {}",
                from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            ),
            NoMark::From(None) => "no time is marked yet: an alerting leader does that".to_owned(),
        };
        Problem::new(StatusCode::GONE, message)
    }
}

/// The last mark at or before `at`.
async fn mark(client: &Client, at: Time) -> Result<Mark, NoMark> {
    let Some(latest) = client.get(keys::CLOCK).await? else { return Err(NoMark::From(None)) };
    let time = latest.json::<Clock>()?.time;
    let mark = |time, revision| Mark { at, as_of: time, revision };
    if time <= at {
        return Ok(mark(time, latest.mod_revision));
    }
    // The mark at `later` is after `at`; at `earlier` none is known to be before it.
    let (mut earlier, mut later) = (0, latest.mod_revision);
    let (mut found, mut oldest) = (None, time);
    while later - earlier > 1 {
        let middle = earlier + (later - earlier) / 2;
        match client.get_at(keys::CLOCK, middle).await {
            Ok(Some(kv)) => {
                let time = kv.json::<Clock>()?.time;
                if time <= at {
                    found = Some(mark(time, kv.mod_revision));
                    earlier = middle;
                } else {
                    oldest = oldest.min(time);
                    later = kv.mod_revision.max(earlier + 1);
                }
            }
            Ok(None) => earlier = middle,
            Err(error) if error.is_compacted() => earlier = middle,
            Err(error) => return Err(error.into()),
        }
    }
    found.ok_or(NoMark::From(Some(oldest)))
}

/// Everything that was known.
struct Past {
    mark: Mark,
    records: Vec<Service>,
    panics: Vec<Panic>,
    seen: Vec<Seen>,
    opinions: Vec<KeyValue>,
}

impl Past {
    /// Of one service, or of all.
    async fn read(client: &Client, at: Time, service: &str) -> Result<Self, Problem> {
        let mark = mark(client, at).await?;
        let rest = if service.is_empty() { String::new() } else { format!("{service}/") };
        let under = |prefix: &str| format!("{prefix}{rest}");
        let [instances, verdicts, opinions, roles, drains] = health::PREFIXES.map(under);
        let (record, panic) = (keys::service(service), keys::panic(service));
        let read = tokio::try_join!(
            client.list_at(&instances, mark.revision),
            client.list_at(&verdicts, mark.revision),
            client.list_at(&opinions, mark.revision),
            client.list_at(&roles, mark.revision),
            client.list_at(&drains, mark.revision),
            client.list_at(&record, mark.revision),
            client.list_at(&panic, mark.revision),
        );
        let (instances, verdicts, opinions, roles, drains, records, panics) = match read {
            Ok(read) => read,
            // The mark outlived what it marks.
            Err(error) if error.is_compacted() => {
                return Err(NoMark::From(oldest(client).await?).into());
            }
            Err(error) => return Err(error.into()),
        };
        let seen = health::judge(&health::Lists {
            instances: &instances,
            verdicts: &verdicts,
            opinions: &opinions,
            roles: &roles,
            drains: &drains,
        });
        let records = records.iter().filter_map(|kv| kv.json().ok());
        let records =
            records.filter(|r: &Service| service.is_empty() || r.name == service).collect();
        let panics = panics.iter().filter_map(|kv| kv.json().ok()).collect();
        Ok(Self { mark, records, panics, seen, opinions })
    }

    fn services(self) -> Result<Response, Problem> {
        let services = summaries(self.records, &self.seen, &self.panics);
        Ok(Json(Services { mark: self.mark, services }).into_response())
    }

    fn service(self, service: &str) -> Result<Response, Problem> {
        let summaries = summaries(self.records.clone(), &self.seen, &self.panics);
        let found = summaries.into_iter().find(|summary| summary.service.name == service);
        let Some(summary) = found else { return Err(self.nothing(service, None)) };
        let members = self.members();
        Ok(Json(One { mark: self.mark, summary, members }).into_response())
    }

    fn instances(self, service: &str, healthy: Option<bool>) -> Result<Response, Problem> {
        let is_wanted =
            |member: &Member| healthy.is_none_or(|healthy| member.seen.is_healthy() == healthy);
        let instances = self.members().into_iter().filter(is_wanted).collect();
        let service = service.to_owned();
        Ok(Json(Instances { mark: self.mark, service, instances }).into_response())
    }

    fn instance(self, service: &str, id: &str) -> Result<Response, Problem> {
        let found = self.members().into_iter().find(|member| member.seen.instance.id == id);
        let Some(member) = found else { return Err(self.nothing(service, Some(id))) };
        Ok(Json(OneInstance { mark: self.mark, member }).into_response())
    }

    fn nothing(&self, service: &str, id: Option<&str>) -> Problem {
        let id = id.map(|id| format!("/{id}")).unwrap_or_default();
        Problem::not_found(format!("{service}{id} was not registered at {}", self.mark.at))
    }

    fn members(&self) -> Vec<Member> {
        let mut opinions: BTreeMap<String, BTreeMap<String, BTreeMap<String, Opinion>>> =
            BTreeMap::new();
        for kv in &self.opinions {
            let Some(pair) = health::pair(&kv.key, keys::OPINIONS) else { continue };
            let Some(segments) = keys::segments(&kv.key, keys::OPINIONS) else { continue };
            let ([_, _, check, collector], Ok(opinion)) = (&segments[..], kv.json()) else {
                continue;
            };
            let checks = opinions.entry(pair).or_default();
            let collectors = checks.entry((*check).to_owned()).or_default();
            collectors.insert((*collector).to_owned(), opinion);
        }
        let member = |seen: &Seen| {
            let pair = format!("{}/{}", seen.instance.service, seen.instance.id);
            Member { seen: seen.clone(), opinions: opinions.remove(&pair).unwrap_or_default() }
        };
        self.seen.iter().map(member).collect()
    }
}

/// The first mark at whose revision can still be read.
async fn oldest(client: &Client) -> Result<Option<Time>, ClientError> {
    let Some(latest) = client.get(keys::CLOCK).await? else { return Ok(None) };
    let mut oldest = latest.json::<Clock>()?.time;
    let (mut forgotten, mut known) = (0, latest.mod_revision);
    while known - forgotten > 1 {
        let middle = forgotten + (known - forgotten) / 2;
        match client.get_at(keys::CLOCK, middle).await {
            // Only a mark that lies behind what is forgotten can be read at.
            Ok(Some(kv)) if kv.mod_revision > forgotten => {
                match client.get_at(keys::CLOCK, kv.mod_revision).await {
                    Ok(_) => {
                        oldest = oldest.min(kv.json::<Clock>()?.time);
                        known = kv.mod_revision;
                    }
                    Err(error) if error.is_compacted() => forgotten = middle,
                    Err(error) => return Err(error),
                }
            }
            Ok(_) => forgotten = middle,
            Err(error) if error.is_compacted() => forgotten = middle,
            Err(error) => return Err(error),
        }
    }
    Ok(Some(oldest))
}

#[derive(Serialize)]
struct Services {
    #[serde(flatten)]
    mark: Mark,
    services: Vec<Summary>,
}

#[derive(Serialize)]
struct One {
    #[serde(flatten)]
    mark: Mark,
    #[serde(flatten)]
    summary: Summary,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Instances {
    #[serde(flatten)]
    mark: Mark,
    service: String,
    instances: Vec<Member>,
}

#[derive(Serialize)]
struct OneInstance {
    #[serde(flatten)]
    mark: Mark,
    #[serde(flatten)]
    member: Member,
}

/// An instance as it was, and what each collector thought of each of its checks.
#[derive(Serialize)]
struct Member {
    #[serde(flatten)]
    seen: Seen,
    opinions: BTreeMap<String, BTreeMap<String, Opinion>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now: Time = "2026-01-05T09:00:00Z".parse().expect("a time");
        for (text, read) in [
            ("2026-01-05T08:59:00Z", Some("2026-01-05T08:59:00Z")),
            ("2026-01-05T09:59:00+01:00", Some("2026-01-05T08:59:00Z")),
            ("2026-01-05T09:59:00 01:00", Some("2026-01-05T08:59:00Z")),
            ("1767603600", Some("2026-01-05T09:00:00Z")),
            ("1767603599.5", Some("2026-01-05T08:59:59.5Z")),
            ("2026-01-05T09:00:04Z", Some("2026-01-05T09:00:04Z")),
            ("2026-01-05T09:00:06Z", None),
            ("yesterday", None),
            ("NaN", None),
            ("1e300", None),
        ] {
            let read = read.map(|read| read.parse().expect("a time"));
            assert_eq!(read_time(text, now).ok(), read, "{text}");
        }
    }
}
