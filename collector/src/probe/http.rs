//! The HTTP probe: a request, 1.1 or 2, and those that redirects lead to, each over a connection of its own,
//! unless the check asks for reuse: then the first connection is kept for the next probe.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LAST_MODIFIED, LOCATION,
        PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    },
};
use bytes::Bytes;
use chrono::DateTime;
use http_body_util::Full;
use hyper::body::Incoming;
use watchkeep_catalog::{HttpCheck, Scheme};

use super::{Context, Endpoint, Phase, Stopwatch, tls::Tls};

pub(super) mod auth;
pub(super) mod connection;
mod cookies;
mod expect;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(super) mod place;
mod recipe;
pub(super) mod route;
mod values;

#[cfg(test)]
mod failures;
#[cfg(test)]
mod tests;

use connection::IsTls;
use cookies::Cookies;
use expect::{Bad, Expect, version_name};
use place::Place;
pub(super) use recipe::Recipes;
use recipe::{Body, Recipe};
use route::{Reached, Via};

/// Who asks.
pub(super) const AGENT: &str = concat!("watchkeep/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(super) struct HttpProbe {
    first: Place,
    /// What the first place calls itself.
    host: HeaderValue,
    tls: Option<Box<Tls>>,
    recipe: Arc<Recipe>,
    /// The connection of the last probe. Most checks keep none: that takes a word.
    kept: Mutex<Option<Box<Reached>>>,
}

/// An answer whose head has come.
struct Answer {
    head: ::http::response::Parts,
    body: Incoming,
    reached: Box<Reached>,
}

/// What is asked next.
struct Ask<'a> {
    place: &'a Place,
    endpoint: &'a Endpoint,
    tls: Option<&'a Tls>,
    method: &'a Method,
    authority: &'a str,
    /// Whether it is the host that the check names.
    is_first_host: bool,
}

impl HttpProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &HttpCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let recipe = context.recipes.get(check, endpoint.reuse, context)?;
        let first = Place {
            tls: check.scheme == Scheme::Https,
            host: endpoint.address.clone(),
            port: endpoint.port,
            path: check.path.clone(),
        };
        let host = match recipe.headers.get(HOST) {
            Some(named) => named.clone(),
            None => recipe::value("host", &first.authority())?,
        };
        // The instance may be asked by its address under the name of its service.
        let named = host.to_str().ok().and_then(|h| h.parse::<::http::uri::Authority>().ok());
        let name = named.as_ref().map_or(endpoint.address.as_str(), |authority| authority.host());
        let tls = first.tls.then(|| recipe.route.tls(name).map(Box::new)).transpose()?;
        Ok(Self { first, host, tls, recipe, kept: Mutex::default() })
    }

    fn authority(&self) -> &str {
        self.host.to_str().unwrap_or_default()
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        values::begin(watch);
        let (mut place, mut endpoint) = (Cow::Borrowed(&self.first), Cow::Borrowed(endpoint));
        let mut authority = Cow::Borrowed(self.authority());
        let (mut method, redirects_max) = (self.recipe.method.clone(), self.recipe.redirects_max);
        let (mut cookies, mut redirects) = (Cookies::default(), 0);
        let mut tls = None;
        loop {
            let is_first_host = self.is_first_host(&place);
            let ask = Ask {
                place: &place,
                endpoint: &endpoint,
                tls: if redirects == 0 { self.tls.as_deref() } else { tls.as_ref() },
                method: &method,
                authority: &authority,
                is_first_host,
            };
            let answer = self.ask(&ask, redirects == 0, &cookies, watch).await?;
            let status = answer.head.status;
            let location = answer.head.headers.get(LOCATION).filter(|_| is_redirect(status));
            let Some(location) = location else {
                return self.judge(answer, redirects == 0, &place, watch).await;
            };
            watch.fact("probe_http_redirects", f64::from(redirects + 1));
            if redirects_max == 0 {
                return self.judge(answer, redirects == 0, &place, watch).await;
            }
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            if redirects == u32::from(redirects_max) {
                values::of_head(&answer.head, place.tls, watch);
                return Err(format!("more than {redirects} redirects, the last to {location}"));
            }
            cookies.keep(&place.host, &answer.head.headers);
            let next = place.join(&authority, &location);
            place = Cow::Owned(next.map_err(|e| format!("redirect to {location:?}: {e}"))?);
            watch.note(|| format!("status {}, redirected to {location}", status.as_u16()));
            (authority, redirects) = (Cow::Owned(place.authority()), redirects + 1);
            // Who is redirected to the name of the service asks the same instance again.
            let is_first = authority == self.authority();
            let port = if is_first { self.first.port } else { place.port };
            let named = if self.is_first_host(&place) { &self.first.host } else { &place.host };
            let address = named.clone();
            endpoint = Cow::Owned(Endpoint { address, port, ..endpoint.into_owned() });
            watch.turn_to(&endpoint.address, endpoint.to_string());
            tls = place.tls.then(|| self.recipe.route.tls_elsewhere(&place.host)).transpose()?;
            if !matches!(status.as_u16(), 307 | 308) && method != Method::HEAD {
                method = Method::GET;
            }
            watch.enter(Phase::Resolve);
        }
    }

    /// Whether a place is the one that the check names, by its address or by its `host` header.
    fn is_first_host(&self, place: &Place) -> bool {
        let authority = self.authority();
        let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority }
        });
        place.host == self.first.host || place.bracketed().eq_ignore_ascii_case(host)
    }

    /// Sends the request and waits for the head of the answer.
    async fn ask(
        &self,
        ask: &Ask<'_>,
        is_first: bool,
        cookies: &Cookies,
        watch: &mut Stopwatch,
    ) -> Result<Answer, String> {
        let auth = match ask.is_first_host {
            true => self.recipe.auth.value(ask.endpoint, watch).await?,
            // Who is redirected to elsewhere is not told our secrets.
            false => None,
        };
        let kept = if is_first { self.kept().take() } else { None };
        if let Some(mut reached) = kept {
            watch.enter(Phase::Processing);
            if reached.connection.is_alive().await {
                let request = self.request(ask, &reached, auth.clone(), cookies)?;
                if let Ok(answer) = reached.connection.send(request).await {
                    watch.note(|| "over the connection of the last probe".to_owned());
                    if let Some(peer) = reached.peer {
                        super::connect::tell(peer, watch);
                    }
                    if let Some(shown) = &reached.shown {
                        shown.tell(watch);
                    }
                    return Ok(self.answered(answer, reached, watch).await);
                }
            }
            // It was closed meanwhile: that says nothing about the service.
            watch.enter(Phase::Resolve);
        }
        let route = &self.recipe.route;
        let mut reached = Box::new(route.reach(ask.place, ask.endpoint, ask.tls, watch).await?);
        let request = self.request(ask, &reached, auth, cookies)?;
        let answer = reached.connection.send(request).await?;
        Ok(self.answered(answer, reached, watch).await)
    }

    async fn answered(
        &self,
        answer: Response<Incoming>,
        reached: Box<Reached>,
        watch: &mut Stopwatch,
    ) -> Answer {
        watch.enter(Phase::Transfer);
        let (head, body) = answer.into_parts();
        watch.note(|| format!("{} {}", version_name(head.version), head.status));
        if head.status == StatusCode::UNAUTHORIZED {
            self.recipe.auth.refused().await;
        }
        Answer { head, body, reached }
    }

    fn request(
        &self,
        ask: &Ask<'_>,
        reached: &Reached,
        auth: Option<HeaderValue>,
        cookies: &Cookies,
    ) -> Result<Request<Full<Bytes>>, String> {
        let with_body = *ask.method == self.recipe.method;
        let body = match &self.recipe.body {
            _ if !with_body => Bytes::new(),
            Body::Fixed(body) => body.clone(),
            Body::File(file) => Bytes::from(file.content()),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = ask.method.clone();
        let plain = ask.place.path.as_str();
        let uri = if reached.through_proxy {
            format!("http://{}{plain}", ask.authority).parse()
        } else {
            plain.parse()
        };
        *request.uri_mut() = uri.map_err(|e| format!("path {plain:?}: {e}"))?;
        let ours = &self.recipe.headers;
        let headers = request.headers_mut();
        *headers = HeaderMap::with_capacity(ours.len() + 1);
        headers.insert(HOST, self.host.clone());
        for (name, value) in ours {
            headers.insert(name.clone(), value.clone());
        }
        if !with_body {
            headers.remove(CONTENT_LENGTH);
            headers.remove(CONTENT_TYPE);
            headers.remove(TRANSFER_ENCODING);
        }
        if ask.authority != self.authority() {
            let host = HeaderValue::from_str(ask.authority);
            headers.insert(HOST, host.map_err(|e| format!("{:?}: {e}", ask.authority))?);
        }
        if !ask.is_first_host {
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        if let Some(auth) = auth {
            headers.insert(AUTHORIZATION, auth);
        }
        if let Some(cookie) = cookies.header(&ask.place.host) {
            headers.append(COOKIE, cookie);
        }
        if reached.through_proxy
            && let Some(value) = self.recipe.route.proxy.as_deref().and_then(Via::authorization)
        {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        if ask.place.tls {
            request.extensions_mut().insert(IsTls);
        }
        Ok(request)
    }

    async fn judge(
        &self,
        answer: Answer,
        is_first: bool,
        place: &Place,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let Answer { head, body, mut reached } = answer;
        values::of_head(&head, place.tls, watch);
        let expect = &self.recipe.expect;
        let good = expect.judge_head(head.status, head.version, &head.headers, place.tls);
        let read = reached.connection.read(body, expect.bytes_max).await;
        let (body, whole) = match (good, read) {
            (Ok(()), Ok(read)) => read,
            (Ok(()), Err(reason)) => return Err(fail(reason.into(), watch)),
            (Err(bad), read) => {
                // What was read is told all the same, but for the page that comes with a redirect.
                let redirects = is_redirect(head.status) && head.headers.contains_key(LOCATION);
                if let Ok((body, whole)) = read
                    && !redirects
                    && let Ok((body, _)) = expect.decompress(body, whole)
                {
                    values::of_body(&body, watch);
                }
                return Err(fail(bad, watch));
            }
        };
        if is_first && self.recipe.reuse && whole {
            *self.kept() = Some(reached);
        }
        let (body, whole) = expect.decompress(body, whole)?;
        values::of_body(&body, watch);
        match expect.judge_body(head.status, &body, whole) {
            Ok(()) => Ok(format!("status {}", head.status.as_u16())),
            Err(bad) => Err(fail(bad, watch)),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Box<Reached>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether its regular expressions and headers' names can be read.
pub(super) fn judge(check: &HttpCheck) -> Result<(), String> {
    Expect::new(check).map(drop)
}

fn fail(bad: Bad, watch: &mut Stopwatch) -> String {
    if bad.due_to_regex {
        watch.fact("probe_failed_due_to_regex", 1.0);
    }
    bad.reason
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// A time as HTTP writes it (RFC 9110 §5.6.7), as a Unix time.
fn http_time(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(LAST_MODIFIED)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|time| time.timestamp())
}
