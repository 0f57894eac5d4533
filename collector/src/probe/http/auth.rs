//! Who asks: basic, a token, or OAuth 2.0 client credentials whose token is fetched and kept.

use std::{sync::Arc, time::Duration};

use ::http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use url::form_urlencoded::Serializer;
use watchkeep_catalog::{HttpCheck, HttpVersion, OAuth2};

use super::{
    connection::IsTls,
    place::Place,
    route::{Route, Via},
};
use crate::probe::{Context, Endpoint, Phase, Stopwatch, files::SecretText, tls::Tls};

/// Longest answer of a token's server.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A token is not used in its last seconds.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// What is said in the `authorization` header.
#[derive(Debug)]
pub(in crate::probe) enum Auth {
    None,
    Basic(String, Option<SecretText>),
    Token(String, SecretText),
    OAuth2(Box<Client>),
}

impl Auth {
    pub(in crate::probe) fn new(check: &HttpCheck, context: &Arc<Context>) -> Result<Self, String> {
        let secret = |field, secret| context.files.secret(field, secret);
        if let Some(basic) = &check.basic_auth {
            let password = basic.password.as_ref();
            let password = password.map(|p| secret("http.basic_auth.password", p)).transpose()?;
            return Ok(Self::Basic(basic.username.clone(), password));
        }
        if let Some(token) = &check.authorization {
            let credentials = secret("http.authorization.credentials", &token.credentials)?;
            return Ok(Self::Token(token.scheme.clone(), credentials));
        }
        match &check.oauth2 {
            Some(oauth2) => Ok(Self::OAuth2(Box::new(Client::new(oauth2, context)?))),
            None => Ok(Self::None),
        }
    }

    /// The header's value.
    pub(in crate::probe) async fn value(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic(user, password) => basic(user, password.as_ref()),
            Self::Token(scheme, credentials) => format!("{scheme} {}", credentials.text()),
            Self::OAuth2(client) => Box::pin(client.token(endpoint, watch)).await?,
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "http.authorization: the secret holds a line break".to_owned())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The server would not have it: a kept token is of no use any more.
    pub(super) async fn refused(&self) {
        if let Self::OAuth2(client) = self {
            *client.token.lock().await = None;
        }
    }
}

fn basic(user: &str, password: Option<&SecretText>) -> String {
    let password = password.map(SecretText::text).unwrap_or_default();
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Fetches tokens.
#[derive(Debug)]
pub(in crate::probe) struct Client {
    id: String,
    secret: SecretText,
    place: Place,
    tls: Option<Tls>,
    route: Route,
    parameters: Vec<(String, String)>,
    token: Mutex<Option<Token>>,
}

/// A token's header, and until when it is used.
#[derive(Debug)]
struct Token {
    header: SecretText,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Client {
    fn new(oauth2: &OAuth2, context: &Arc<Context>) -> Result<Self, String> {
        let secret = context.files.secret("http.oauth2.client_secret", &oauth2.client_secret)?;
        let place = Place::parse(&oauth2.token_url)
            .map_err(|e| format!("http.oauth2.token_url {:?}: {e}", oauth2.token_url))?;
        let proxy = oauth2.proxy.as_ref();
        let route = Route {
            context: context.clone(),
            tls: oauth2.tls.clone(),
            version: HttpVersion::Http1,
            proxy: proxy
                .map(|p| Via::new("http.oauth2.proxy", p, context).map(Box::new))
                .transpose()?,
            unix_socket: None,
        };
        let tls = place.tls.then(|| route.tls(&place.host)).transpose()?;
        let mut parameters = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if !oauth2.scopes.is_empty() {
            parameters.push(("scope".to_owned(), oauth2.scopes.join(" ")));
        }
        parameters.extend(oauth2.endpoint_params.clone());
        let (id, token) = (oauth2.client_id.clone(), Mutex::default());
        Ok(Self { id, secret, place, tls, route, parameters, token })
    }

    async fn token(&self, endpoint: &Endpoint, watch: &mut Stopwatch) -> Result<String, String> {
        let mut kept = self.token.lock().await;
        let is_fresh = |token: &&Token| token.until.is_none_or(|until| Instant::now() < until);
        if let Some(token) = kept.as_ref().filter(is_fresh) {
            return Ok(token.header.text());
        }
        watch.enter(Phase::Token);
        let url = format!("token from {}", self.place.authority());
        let token = self.fetch(endpoint).await.map_err(|e| format!("{url}: {e}"))?;
        watch.enter(Phase::Resolve);
        Ok(kept.insert(token).header.text())
    }

    async fn fetch(&self, endpoint: &Endpoint) -> Result<Token, String> {
        // In the header as RFC 6749 §2.3.1 prefers; servers that do not take it there take it in the body.
        let (mut status, mut body) = self.ask(endpoint, true).await?;
        if status.is_client_error() {
            (status, body) = self.ask(endpoint, false).await?;
        }
        if !status.is_success() {
            return Err(format!("status {}", status.as_u16()));
        }
        // Neither the answer nor what is wrong with it is shown: it may hold the token.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| "the answer is no JSON with an access_token".to_owned())?;
        let scheme = answer.token_type.filter(|kind| !kind.eq_ignore_ascii_case("bearer"));
        let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
        let seconds = answer.expires_in.and_then(|value| match value {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        let until = seconds.map(|seconds| {
            Instant::now() + Duration::from_secs(seconds).saturating_sub(EXPIRY_MARGIN)
        });
        Ok(Token { header: SecretText::Fixed(format!("{scheme} {}", answer.access_token)), until })
    }

    fn form(&self, with_secret: bool) -> String {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(&self.parameters);
        if with_secret {
            form.append_pair("client_id", &self.id);
            form.append_pair("client_secret", &self.secret.text());
        }
        form.finish()
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        in_header: bool,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let (address, port) = (self.place.host.clone(), self.place.port);
        let endpoint = Endpoint { address, port, ..endpoint.clone() };
        // Its facts are not the check's.
        let mut watch = Stopwatch::start(false);
        let mut reached =
            self.route.reach(&self.place, &endpoint, self.tls.as_ref(), &mut watch).await?;
        let uri = if reached.through_proxy {
            format!("http://{}{}", self.place.authority(), self.place.path)
        } else {
            self.place.path.clone()
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(HOST, self.place.authority())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if in_header {
            request = request.header(AUTHORIZATION, basic(&self.id, Some(&self.secret)));
        }
        if self.place.tls {
            request = request.extension(IsTls);
        }
        let request = request.body(Full::new(Bytes::from(self.form(!in_header))));
        let answer = reached.connection.send(request.map_err(|e| e.to_string())?).await?;
        let status = answer.status();
        let (body, _) = reached.connection.read(answer.into_body(), ANSWER_BYTES_MAX).await?;
        Ok((status, body))
    }
}
