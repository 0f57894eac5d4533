//! Who may use the HTTP listener, and how: what a web configuration file (Prometheus's exporter-toolkit,
//! `--web.config.file`) says of TLS, users, headers and rate, and what keeps to it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;

mod callers;
mod door;
mod file;
mod kept;
mod limit;
mod serve;
mod tls;
mod users;

pub(crate) use file::File;
pub(crate) use kept::Kept;
pub(crate) use serve::{bind, serve};
pub(crate) use users::{Login, Passwords};

use limit::Limit;
use tls::Tls;
use users::Users;

/// What is wrong: the field's path, and the message.
pub(crate) type Wrong = (String, String);

/// A file that was read, and what was in it.
type Source = (PathBuf, Vec<u8>);

/// Headers that a file may add to answers, and the values that each may have; none: any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// A web configuration, judged and made ready.
pub(crate) struct Web {
    tls: Option<Tls>,
    users: Option<Users>,
    headers: HeaderMap,
    limit: Option<Limit>,
    /// The files that it was made of.
    sources: Vec<Source>,
}

/// What others have to know of it. The default: anybody is served, without TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// TLS is spoken.
    pub(crate) tls: bool,
    /// A client's certificate is demanded.
    pub(crate) certificate: bool,
    /// A user and a password are demanded.
    pub(crate) user: bool,
}

impl Web {
    /// Judges a file, and reads those that it names; they lie in `dir` unless they say otherwise. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn make(file: &File, dir: &Path) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let http = file.http_server_config.as_ref();
        let http2 = http.and_then(|http| http.http2).unwrap_or(true);
        let said = file.tls_server_config.as_ref().filter(|tls| tls.says_something());
        let (mut tls, mut sources) = (None, Vec::new());
        if let Some(said) = said {
            match Tls::make(said, http2, dir) {
                Ok((made, read)) => (tls, sources) = (Some(made), read),
                Err(more) => wrong.extend(more),
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in http.and_then(|http| http.headers.as_ref()).into_iter().flatten() {
            match header(name, value) {
                Ok(None) => {}
                Ok(Some((name, value))) => drop(headers.insert(name, value)),
                Err(message) => {
                    wrong.push((format!("http_server_config.headers.{name}"), message));
                }
            }
        }
        let limit = file.rate_limit.as_ref().map(|said| Limit::make(said, Instant::now()));
        let limit = limit.transpose().map_err(|more| wrong.push(more)).ok().flatten().flatten();
        let users = file.basic_auth_users.as_ref().map(Users::make).transpose();
        let users = users.map_err(|more| wrong.extend(more)).ok().flatten().flatten();
        let made = Self { tls, users, headers, limit, sources };
        if wrong.is_empty() { Ok(made) } else { Err(wrong) }
    }

    /// The same, with the file that says it.
    pub(crate) fn said_by(mut self, path: &Path, text: String) -> Self {
        self.sources.push((path.to_owned(), text.into_bytes()));
        self
    }

    /// Whether all files are as they were read. Blocks.
    fn is_fresh(&self) -> bool {
        let is_same = |(path, read): &Source| fs::read(path).is_ok_and(|now| now == *read);
        self.sources.iter().all(is_same)
    }

    /// What others have to know of it.
    pub(crate) fn demands(&self) -> Demands {
        Demands {
            tls: self.tls.is_some(),
            certificate: self.tls.as_ref().is_some_and(|tls| tls.demands_certificate),
            user: self.users.is_some(),
        }
    }

    /// Whether one more request is taken now.
    pub(crate) fn takes_another(&self, now: Instant) -> bool {
        self.limit.as_ref().is_none_or(|limit| limit.takes_another(now))
    }

    /// What every answer has.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether the bearer of this `Authorization` is one of the users; `None` where nobody has to be.
    pub(crate) async fn login(
        &self,
        authorization: Option<&HeaderValue>,
        passwords: &Passwords,
    ) -> Option<Login> {
        let users = self.users.as_ref()?;
        Some(users.login(authorization, passwords).await)
    }

    /// Until when the certificate holds: Unix time in seconds.
    fn not_after_seconds(&self) -> Option<i64> {
        self.tls.as_ref().map(|tls| tls.not_after_seconds)
    }

    /// The TLS of new connections.
    fn server(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.config))
    }
}

/// A header of all answers; none where its value is blank.
fn header(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let known = HEADERS.iter().find(|(known, _)| *known == name);
    let Some((_, values)) = known else {
        let known = HEADERS.map(|(name, _)| name).join(", ");
        return Err(format!("this header is not for this file: leave it out; known: {known}"));
    };
    if value.is_empty() {
        return Ok(None);
    }
    if !values.is_empty() && !values.contains(&value) {
        return Err(format!("{value:?} is not one of its values: give {}", values.join(" or ")));
    }
    let made = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
    made.map(Some).ok_or_else(|| format!("{value:?}: no header may say this: give it in ASCII"))
}
