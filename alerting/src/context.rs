//! What the shells share: settings, connections, secrets, metrics.

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest, Sha256};
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use watchkeep_catalog::{Client, Incident, Page, PageKind, Time};

use crate::{
    AlertingError,
    alone::{self, Alone},
    config::{AlertingConfig, Channel, FailoverScripts, Integration, Keys, Secret},
    link::Links,
    metrics::Metrics,
    notify::email::Mailer,
    post,
    rules::Rules,
    source::Source,
    throttle::Way,
};

/// Callbacks on the wire at once.
const CALLBACKS_MAX: usize = 256;
/// Mails on the wire at once. Webhooks have no such limit together, only each its own: one that hangs must not keep others
/// waiting, and neither must a mail server that hangs.
const MAILS_MAX: usize = 64;
/// Pages on the wire at once to one receiver by one channel.
const PAGES_PER_WAY_MAX: usize = 8;

/// A program that reports by `POST /v2/enqueue`.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) name: String,
    pub(crate) escalation: Option<String>,
}

pub(crate) struct Context {
    pub(crate) id: String,
    /// Base URL for links: the cluster's where one is configured, else this node's.
    pub(crate) url: String,
    /// Base URL of this node's HTTP API.
    pub(crate) node_url: String,
    pub(crate) client: Client,
    pub(crate) rules: Rules,
    pub(crate) http: reqwest::Client,
    pub(crate) mailer: Option<Mailer>,
    pub(crate) metrics: Metrics,
    /// For when the registry is lost.
    pub(crate) alone: Alone,
    /// Who has the samples.
    pub(crate) source: Arc<dyn Source>,
    /// What services promise that do not say so themselves.
    pub(crate) availability: f64,
    /// Where the programs are that a failover may run.
    pub(crate) failover_scripts: Option<FailoverScripts>,
    /// By file.
    pub(crate) callback_secrets: BTreeMap<String, Keys>,
    /// By person or receiver.
    pub(crate) page_secrets: BTreeMap<String, Keys>,
    /// Signs the links in mails.
    pub(crate) link_secret: Option<Secret>,
    /// Routing keys and whose they are.
    gates: Vec<(Secret, Gate)>,
    pub(crate) callbacks: Semaphore,
    mails: Semaphore,
    /// By person or receiver, and channel.
    ways: BTreeMap<Way, Semaphore>,
    /// For those that are not configured any more.
    other_ways: Semaphore,
}

impl Context {
    pub(crate) fn new(
        config: &AlertingConfig,
        id: String,
        url: String,
        client: Client,
        source: Arc<dyn Source>,
        availability: f64,
        registry: &prometheus::Registry,
    ) -> Result<Self, AlertingError> {
        config.validate().map_err(AlertingError::Config)?;
        let rules = Rules::new(config).map_err(AlertingError::Config)?;
        let policies: Vec<_> = config.failover.iter().map(|p| p.name.as_str()).collect();
        let metrics = Metrics::new(registry, &policies)?;
        let callbacks = config.failover.iter().flat_map(|policy| policy.callbacks());
        let mut callbacks: Vec<Files<'_>> = callbacks
            .filter_map(|(_, c)| {
                Some((c.secret_file.as_ref()?, &c.secret_file, &c.secret_next_file))
            })
            .collect();
        // Where the same file is named with a next one and without it, both sign.
        callbacks.sort_by_key(|(_, _, next)| next.is_some());
        let people = config.people.iter().map(|p| (&p.name, &p.secret_file, &p.secret_next_file));
        let receivers =
            config.receivers.iter().map(|r| (&r.name, &r.secret_file, &r.secret_next_file));
        let limit = || Semaphore::new(PAGES_PER_WAY_MAX);
        let names = rules.contacts.keys();
        let ways = names.flat_map(|name| {
            let way = |channel: Channel| (name.clone(), channel.as_str().to_owned());
            [way(Channel::Email), way(Channel::Webhook)]
        });
        let node_url = url.trim_end_matches('/').to_owned();
        let url = match config.external_url.trim_end_matches('/') {
            "" => node_url.clone(),
            url => url.to_owned(),
        };
        Ok(Self {
            id,
            url,
            node_url,
            client,
            source,
            availability,
            failover_scripts: config.failover_scripts.clone(),
            http: post::http_client()?,
            mailer: config.smtp.as_ref().map(Mailer::new).transpose()?,
            metrics,
            alone: Alone::default(),
            callback_secrets: keys(callbacks.into_iter())?,
            page_secrets: keys(people.chain(receivers))?,
            link_secret: config
                .pages
                .link_secret_file
                .as_deref()
                .map(Secret::read)
                .transpose()
                .map_err(AlertingError::Secret)?,
            gates: gates(&config.integrations)?,
            callbacks: Semaphore::new(CALLBACKS_MAX),
            mails: Semaphore::new(MAILS_MAX),
            ways: ways.map(|way| (way, limit())).collect(),
            other_ways: limit(),
            rules,
        })
    }

    /// The links of a page's mail; none where nothing signs them, nothing is left to do, or no registry knows the incident.
    pub(crate) fn links(&self, incident: &Incident, page: &Page, now: Time) -> Option<Links> {
        let leads_somewhere = page.kind == PageKind::Firing && !alone::is_unknown(incident);
        let secret = self.link_secret.as_ref().filter(|_| leads_somewhere)?;
        Some(Links::new(secret, &self.url, incident, page, now))
    }

    /// Whose routing key it is. Compared by their digests, so that the time it takes tells nothing of a key.
    pub(crate) fn gate(&self, routing_key: &str) -> Option<&Gate> {
        let given = Sha256::digest(routing_key.as_bytes());
        let is = |key: &Secret| Sha256::digest(key.bytes()) == given;
        self.gates.iter().find(|(key, _)| is(key)).map(|(_, gate)| gate)
    }

    /// Waits until a page to this receiver may go by this channel. No semaphore is ever closed.
    pub(crate) async fn permits(&self, receiver: &str, channel: &str) -> Permits<'_> {
        let way = (receiver.to_owned(), channel.to_owned());
        let of_way = self.ways.get(&way).unwrap_or(&self.other_ways).acquire().await;
        let is_mail = channel == Channel::Email.as_str();
        let of_mails = if is_mail { Some(self.mails.acquire().await) } else { None };
        (of_way, of_mails)
    }
}

/// A way's and, for a mail, that of all mails.
type Permits<'a> = (Permit<'a>, Option<Permit<'a>>);
type Permit<'a> = Result<SemaphorePermit<'a>, AcquireError>;

fn gates(integrations: &[Integration]) -> Result<Vec<(Secret, Gate)>, AlertingError> {
    let gate = |integration: &Integration| {
        let key = Secret::read(&integration.routing_key_file).map_err(AlertingError::Secret)?;
        let (name, escalation) = (integration.name.clone(), integration.escalation.clone());
        Ok((key, Gate { name, escalation }))
    };
    integrations.iter().map(gate).collect()
}

/// Of one owner: its name, and the files of its secret and of the next one.
type Files<'a> = (&'a String, &'a Option<String>, &'a Option<String>);

fn keys<'a>(
    owners: impl Iterator<Item = Files<'a>>,
) -> Result<BTreeMap<String, Keys>, AlertingError> {
    let mut keys = BTreeMap::new();
    for (name, file, next) in owners {
        let read = Keys::read(file.as_deref(), next.as_deref()).map_err(AlertingError::Secret)?;
        keys.extend(read.map(|read| (name.clone(), read)));
    }
    Ok(keys)
}
