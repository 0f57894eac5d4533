//! Tokens of OAuth 2 for `http_config`: the client credentials grant (RFC 6749, section 4.4). A token is kept until shortly
//! before it ends, or until a receiver refuses it.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    ATTEMPT_TIMEOUT, Failure,
    http::{QUOTE_MAX, read, secret},
};
use crate::{alertmanager::config::Oauth2, text};

/// A token is not used so long before it ends.
const MARGIN: Duration = Duration::from_secs(10);
/// Longest use of a token that does not say when it ends.
const LIFE: Duration = Duration::from_secs(3_600);

/// Where the tokens of one receiver come from.
pub(super) struct Tokens {
    client: Client,
    config: Oauth2,
    kept: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    until: Instant,
}

/// What the server says.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: String,
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn new(client: Client, config: Oauth2) -> Self {
        Self { client, config, kept: Mutex::new(None) }
    }

    /// The one that is kept, or a new one. Whoever comes meanwhile waits for it.
    pub(super) async fn get(&self) -> Result<String, Failure> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(token) = kept.as_ref().filter(|token| now < token.until) {
            return Ok(token.text.clone());
        }
        let token = self.ask(now).await?;
        let text = token.text.clone();
        *kept = Some(token);
        Ok(text)
    }

    /// The receiver does not take it.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|token| token.text == refused) {
            *kept = None;
        }
    }

    async fn ask(&self, now: Instant) -> Result<Token, Failure> {
        let config = &self.config;
        let password = secret(config.client_secret.as_ref(), config.client_secret_file.as_ref())?;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !config.scopes.is_empty() {
            form.push(("scope", config.scopes.join(" ")));
        }
        let more = config.endpoint_params.iter();
        form.extend(more.map(|(name, value)| (name.as_str(), value.clone())));
        let request = self.client.post(&config.token_url).timeout(ATTEMPT_TIMEOUT);
        let request = request.basic_auth(&config.client_id, Some(password)).form(&form);
        let failed = |what: String| Failure::Again(format!("no OAuth 2 token: {what}"));
        let response = request
            .send()
            .await
            .map_err(|e| failed(watchkeep_catalog::causes(&e.without_url())))?;
        let status = response.status();
        let body = read(response).await;
        if !status.is_success() {
            let said = text::shorten(&String::from_utf8_lossy(&body), QUOTE_MAX);
            return Err(failed(format!("answered {status}: {said}")));
        }
        // The body may hold a token: it is not quoted.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|e| failed(format!("not what RFC 6749 has: {e}")))?;
        if !answer.token_type.is_empty() && !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(failed(format!("token_type {:?} is not Bearer", answer.token_type)));
        }
        let life = answer.expires_in.map_or(LIFE, Duration::from_secs).min(LIFE);
        Ok(Token { text: answer.access_token, until: now + life.saturating_sub(MARGIN) })
    }
}
