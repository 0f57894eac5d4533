//! Links in mails that let somebody take or end an incident: signed, with an end, for one purpose, usable once. Pure.
//!
//! `incident~purpose~by~until~page~mac`: what it allows stands in it, and HMAC-SHA256 over that proves that it is ours.
//! Following a link shows a page with a button; only the button changes something, so a scanner that follows all links of a
//! mail does nothing.

use chrono::{DateTime, TimeDelta};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use watchkeep_catalog::{Incident, Page, Time, check_name};

use crate::{config::Secret, failover::judge::APPROVAL, text::instant};

/// How long a link works.
const VALID: TimeDelta = TimeDelta::days(7);
/// Longest token that is looked at, in bytes.
const TOKEN_MAX: usize = 1_024;
/// Used links that are remembered with an incident; after so many no link of it works any more.
const USED_MAX: usize = 1_000;
/// What the signature is for, so that no other signature of the same secret fits.
const DOMAIN: &str = "watchkeep incident link v1\n";

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Acknowledge,
    Resolve,
    /// A failover that waits for it.
    Approve,
    /// A failover.
    Abort,
}

impl Purpose {
    /// The verb.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
            Self::Approve => "approve",
            Self::Abort => "abort",
        }
    }
}

/// The links of one mail, in full.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    pub(crate) acknowledge: String,
    pub(crate) resolve: String,
    /// Confirm a failover, or end it: in a page that asks for it.
    pub(crate) failover: Option<(String, String)>,
}

/// A link that is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) incident: String,
    pub(crate) purpose: Purpose,
    pub(crate) by: String,
    page: String,
}

/// Why a link is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum LinkError {
    #[error("this link was not made here, or was changed on its way")]
    Forged,
    #[error("this link worked until {0}")]
    Expired(String),
    #[error("this link has been used already: each works once")]
    Used,
}

impl Links {
    /// The links of a page's mail; `url` is the base of the API.
    pub(crate) fn new(
        secret: &Secret,
        url: &str,
        incident: &Incident,
        page: &Page,
        now: Time,
    ) -> Self {
        let link = |purpose: Purpose| {
            let until = (now + VALID).timestamp();
            let (id, by, purpose) = (&incident.id, &page.receiver, purpose.as_str());
            let text = format!("{id}~{purpose}~{by}~{until}~{}", page.id);
            format!(
                "{url}/v1/links/{text}~{}",
                hex::encode(mac(secret, &text).finalize().into_bytes())
            )
        };
        let asks = page.id.starts_with(&format!("{APPROVAL}."));
        Self {
            acknowledge: link(Purpose::Acknowledge),
            resolve: link(Purpose::Resolve),
            failover: asks.then(|| (link(Purpose::Approve), link(Purpose::Abort))),
        }
    }
}

impl Link {
    /// Reads a token.
    ///
    /// # Errors
    /// When it is not ours, or too old.
    pub(crate) fn read(secret: &Secret, token: &str, now: Time) -> Result<Self, LinkError> {
        let forged = || LinkError::Forged;
        if token.len() > TOKEN_MAX {
            return Err(LinkError::Forged);
        }
        let (text, signature) = token.rsplit_once('~').ok_or_else(forged)?;
        let signature = hex::decode(signature).map_err(|_| LinkError::Forged)?;
        // In a time that does not tell how much of it fits.
        mac(secret, text).verify_slice(&signature).map_err(|_| LinkError::Forged)?;
        let [incident, purpose, by, until, page] =
            text.split('~').collect::<Vec<_>>().try_into().map_err(|_| LinkError::Forged)?;
        let purpose = match purpose {
            "acknowledge" => Purpose::Acknowledge,
            "resolve" => Purpose::Resolve,
            "approve" => Purpose::Approve,
            "abort" => Purpose::Abort,
            _ => return Err(LinkError::Forged),
        };
        check_name("incident", incident).map_err(|_| LinkError::Forged)?;
        let until = until.parse().ok().and_then(|at| DateTime::from_timestamp(at, 0));
        let until = until.ok_or_else(forged)?;
        if until <= now {
            return Err(LinkError::Expired(instant(until)));
        }
        let [incident, by, page] = [incident, by, page].map(str::to_owned);
        Ok(Self { incident, purpose, by, page })
    }

    /// Marks it as used.
    ///
    /// # Errors
    /// When it was used before.
    pub(crate) fn spend(&self, incident: &mut Incident) -> Result<(), LinkError> {
        if self.is_spent(incident) || incident.links_used.len() >= USED_MAX {
            return Err(LinkError::Used);
        }
        incident.links_used.push(self.mark());
        Ok(())
    }

    /// Whether it was used before.
    pub(crate) fn is_spent(&self, incident: &Incident) -> bool {
        incident.links_used.contains(&self.mark())
    }

    fn mark(&self) -> String {
        format!("{}/{}", self.purpose.as_str(), self.page)
    }
}

fn mac(secret: &Secret, text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(DOMAIN.as_bytes());
    mac.update(text.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{opened_incident, time};

    fn secret(text: &str) -> Secret {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, text).unwrap();
        Secret::read(file.to_str().unwrap()).unwrap()
    }

    #[test]
    fn genuine_once_and_for_a_week() {
        let (key, mut incident) = (secret("key"), opened_incident());
        let page = incident.pages[0].clone();
        let links = Links::new(&key, "http://w", &incident, &page, time(0));
        let token = links.acknowledge.strip_prefix("http://w/v1/links/").unwrap();
        let link = Link::read(&key, token, time(1)).unwrap();
        assert_eq!(
            (&*link.incident, link.purpose, &*link.by),
            (&*incident.id, Purpose::Acknowledge, "alice")
        );
        let late = Link::read(&key, token, time(0) + VALID).unwrap_err();
        assert_eq!(late, LinkError::Expired("2026-01-12T09:00:00.000Z".to_owned()));
        assert!(!link.is_spent(&incident));
        assert_eq!(link.spend(&mut incident), Ok(()));
        assert!(link.is_spent(&incident));
        assert_eq!(link.spend(&mut incident), Err(LinkError::Used));
        // The other purpose is another link.
        let token = links.resolve.strip_prefix("http://w/v1/links/").unwrap();
        assert_eq!(Link::read(&key, token, time(1)).unwrap().spend(&mut incident), Ok(()));
    }

    #[test]
    fn nothing_else_is_taken() {
        let (key, incident) = (secret("key"), opened_incident());
        let links = Links::new(&key, "", &incident, &incident.pages[0], time(0));
        let token = links.acknowledge.strip_prefix("/v1/links/").unwrap();
        for forged in [
            token.replace("~acknowledge~", "~resolve~"),
            token.replace("~alice~", "~mallory~"),
            token.replace("~17", "~27"),
            format!("{}0", &token[..token.len() - 1]).replace("00", "01"),
            token.rsplit_once('~').unwrap().0.to_owned(),
            String::new(),
            "~~~~~".to_owned(),
            "x".repeat(2_000),
        ] {
            if forged != token {
                assert_eq!(Link::read(&key, &forged, time(1)), Err(LinkError::Forged), "{forged}");
            }
        }
        assert_eq!(Link::read(&secret("other"), token, time(1)), Err(LinkError::Forged));
    }
}
