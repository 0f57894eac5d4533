//! The HTTP probe: a request, 1.1 or 2, and those that redirects lead to, each over a connection of its own,
//! unless the check asks for reuse: then the first connection is kept for the next probe.

use std::sync::{Arc, Mutex, PoisonError};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
        HOST, LAST_MODIFIED, LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING, USER_AGENT,
    },
};
use bytes::Bytes;
use chrono::DateTime;
use http_body_util::Full;
use hyper::body::Incoming;
use watchkeep_catalog::{HttpCheck, Scheme};

use super::{Context, Endpoint, Phase, Stopwatch, files::WatchedFile, tls::Tls};

pub(super) mod auth;
pub(super) mod connection;
mod cookies;
mod expect;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(super) mod place;
pub(super) mod route;
mod values;

#[cfg(test)]
mod tests;

use auth::Auth;
use connection::IsTls;
use cookies::Cookies;
use expect::{Bad, Expect, version_name};
use place::Place;
use route::{Reached, Route, Via};

/// Who asks.
pub(super) const AGENT: &str = concat!("watchkeep/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(super) struct HttpProbe {
    first: Place,
    /// What the first place calls itself: the `host` header.
    authority: String,
    tls: Option<Tls>,
    route: Route,
    method: Method,
    headers: HeaderMap,
    body: Body,
    auth: Auth,
    redirects_max: u8,
    expect: Expect,
    reuse: bool,
    /// The connection of the last probe.
    kept: Mutex<Option<Reached>>,
}

#[derive(Debug)]
enum Body {
    Fixed(Bytes),
    File(WatchedFile),
}

/// An answer whose head has come.
struct Answer {
    head: ::http::response::Parts,
    body: Incoming,
    reached: Reached,
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
        let method = check.method.parse();
        let method = method.map_err(|e| format!("http.method {:?}: {e}", check.method))?;
        let _: Uri = check.path.parse().map_err(|e| format!("http.path {:?}: {e}", check.path))?;
        let first = Place {
            tls: check.scheme == Scheme::Https,
            host: endpoint.address.clone(),
            port: endpoint.port,
            path: check.path.clone(),
        };
        let headers = headers(&first, check, endpoint.reuse)?;
        let authority = headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = authority.unwrap_or_default().to_owned();
        let unix_socket = check.unix_socket.as_deref();
        let proxy = check.proxy.as_ref();
        let route = Route {
            context: context.clone(),
            tls: check.tls.clone(),
            version: check.version,
            proxy: proxy
                .map(|proxy| Via::new("http.proxy", proxy, context).map(Box::new))
                .transpose()?,
            unix_socket: unix_socket.map(|path| context.policy.socket(path)).transpose()?,
        };
        // The instance may be asked by its address under the name of its service.
        let named = authority.parse::<::http::uri::Authority>().ok();
        let name = named.as_ref().map_or(endpoint.address.as_str(), |authority| authority.host());
        let tls = first.tls.then(|| route.tls(name)).transpose()?;
        let body = match (&check.body, &check.body_file) {
            (_, Some(path)) => {
                let field = "http.body_file";
                Body::File(WatchedFile::open(field, context.files.find(field, path)?)?)
            }
            (text, None) => Body::Fixed(Bytes::from(text.clone().unwrap_or_default())),
        };
        Ok(Self {
            auth: Auth::new(check, context)?,
            expect: Expect::new(check)?,
            redirects_max: check.redirects_max,
            reuse: endpoint.reuse,
            kept: Mutex::default(),
            first,
            authority,
            tls,
            route,
            method,
            headers,
            body,
        })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        values::begin(watch);
        let (mut place, mut endpoint) = (self.first.clone(), endpoint.clone());
        let (mut authority, mut method) = (self.authority.clone(), self.method.clone());
        let (mut cookies, mut redirects) = (Cookies::default(), 0);
        let mut tls = None;
        loop {
            let is_first_host = self.is_first_host(&place);
            let ask = Ask {
                place: &place,
                endpoint: &endpoint,
                tls: if redirects == 0 { self.tls.as_ref() } else { tls.as_ref() },
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
            if self.redirects_max == 0 {
                return self.judge(answer, redirects == 0, &place, watch).await;
            }
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            if redirects == u32::from(self.redirects_max) {
                values::of_head(&answer.head, place.tls, watch);
                return Err(format!("more than {redirects} redirects, the last to {location}"));
            }
            cookies.keep(&place.host, &answer.head.headers);
            let next = place.join(&authority, &location);
            place = next.map_err(|e| format!("redirect to {location:?}: {e}"))?;
            watch.note(|| format!("status {}, redirected to {location}", status.as_u16()));
            (authority, redirects) = (place.authority(), redirects + 1);
            // Who is redirected to the name of the service asks the same instance again.
            let is_first = place.authority() == self.authority;
            let port = if is_first { self.first.port } else { place.port };
            let named = if self.is_first_host(&place) { &self.first.host } else { &place.host };
            endpoint = Endpoint { address: named.clone(), port, ..endpoint };
            tls = place.tls.then(|| self.route.tls_elsewhere(&place.host)).transpose()?;
            if !matches!(status.as_u16(), 307 | 308) && method != Method::HEAD {
                method = Method::GET;
            }
            watch.enter(Phase::Resolve);
        }
    }

    /// Whether a place is the one that the check names, by its address or by its `host` header.
    fn is_first_host(&self, place: &Place) -> bool {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &*self.authority }
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
            true => self.auth.value(ask.endpoint, watch).await?,
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
        let mut reached = self.route.reach(ask.place, ask.endpoint, ask.tls, watch).await?;
        let request = self.request(ask, &reached, auth, cookies)?;
        let answer = reached.connection.send(request).await?;
        Ok(self.answered(answer, reached, watch).await)
    }

    async fn answered(
        &self,
        answer: Response<Incoming>,
        reached: Reached,
        watch: &mut Stopwatch,
    ) -> Answer {
        watch.enter(Phase::Transfer);
        let (head, body) = answer.into_parts();
        watch.note(|| format!("{} {}", version_name(head.version), head.status));
        if head.status == StatusCode::UNAUTHORIZED {
            self.auth.refused().await;
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
        let with_body = *ask.method == self.method;
        let body = match &self.body {
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
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if !with_body {
            headers.remove(CONTENT_LENGTH);
            headers.remove(CONTENT_TYPE);
            headers.remove(TRANSFER_ENCODING);
        }
        if ask.authority != self.authority {
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
            && let Some(value) = self.route.proxy.as_deref().and_then(Via::authorization)
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
        let good = self.expect.judge_head(head.status, head.version, &head.headers, place.tls);
        let read = reached.connection.read(body, self.expect.bytes_max).await;
        let (body, whole) = match (good, read) {
            (Ok(()), Ok(read)) => read,
            (Ok(()), Err(reason)) => return Err(fail(reason.into(), watch)),
            (Err(bad), read) => {
                // What was read is told all the same, but for the page that comes with a redirect.
                let redirects = is_redirect(head.status) && head.headers.contains_key(LOCATION);
                if let Ok((body, whole)) = read
                    && !redirects
                    && let Ok((body, _)) = self.expect.decompress(body, whole)
                {
                    values::of_body(&body, watch);
                }
                return Err(fail(bad, watch));
            }
        };
        if is_first && self.reuse && whole {
            *self.kept() = Some(reached);
        }
        let (body, whole) = self.expect.decompress(body, whole)?;
        values::of_body(&body, watch);
        match self.expect.judge_body(head.status, &body, whole) {
            Ok(()) => Ok(format!("status {}", head.status.as_u16())),
            Err(bad) => Err(fail(bad, watch)),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Reached>> {
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

fn headers(place: &Place, check: &HttpCheck, reuse: bool) -> Result<HeaderMap, String> {
    let value = |name: &str, value: &str| {
        HeaderValue::from_str(value)
            .map_err(|_| format!("http.headers.{name}: {value:?} is not allowed"))
    };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value("host", &place.authority())?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(compression) = check.compression {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(compression.name()));
    }
    if !reuse {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, text) in &check.headers {
        let known: HeaderName =
            name.parse().map_err(|_| format!("http.headers: {name:?} is not a header's name"))?;
        headers.insert(known, value(name, text)?);
    }
    Ok(headers)
}

/// A time as HTTP writes it (RFC 9110 §5.6.7), as a Unix time.
fn http_time(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(LAST_MODIFIED)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|time| time.timestamp())
}
