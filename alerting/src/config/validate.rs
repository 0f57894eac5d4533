//! Everything that can be wrong with the settings, said before anything starts.

use std::collections::BTreeSet;

use lettre::message::Mailbox;
use url::Url;
use watchkeep_catalog::check_name;

use super::{AlertingConfig, Invalid, Secret, SmtpConfig, SmtpTls};
use crate::{maintenance::Window, rule::parse_duration};

const LEASE_TTL_SECONDS: std::ops::RangeInclusive<i64> = 2..=60;
const DRAIN_RETENTION_HOURS: std::ops::RangeInclusive<u32> = 0..=8_760;
const OPINIONS_MIN: std::ops::RangeInclusive<u32> = 1..=100;
const PANIC_PERCENT: std::ops::RangeInclusive<u8> = 0..=99;
const PANIC_INSTANCES_MIN: std::ops::RangeInclusive<u32> = 2..=1_000_000;

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Findings(Vec<Invalid>);

impl Findings {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid { path: path.into(), message: message.into() });
    }

    pub(super) fn check(&mut self, path: impl Into<String>, result: Result<(), String>) {
        if let Err(message) = result {
            self.add(path, message);
        }
    }

    /// Names that can be a label and a key segment, each once.
    pub(super) fn names<'a>(
        &mut self,
        what: &'static str,
        names: impl Iterator<Item = (String, &'a str)>,
    ) {
        let mut seen = BTreeSet::new();
        for (path, name) in names {
            self.check(path.clone(), check_name(what, name).map_err(|e| e.to_string()));
            if !seen.insert(name) {
                self.add(path, format!("{what} {name:?} is defined twice: give each its own name"));
            }
        }
    }

    /// A name that must be defined elsewhere.
    pub(super) fn refers(&mut self, path: String, what: &str, name: &str, defined: &[&str]) {
        if !defined.contains(&name) {
            self.add(path, undefined(what, name, defined));
        }
    }

    pub(super) fn range<T: PartialOrd + std::fmt::Display>(
        &mut self,
        path: String,
        value: &T,
        range: &std::ops::RangeInclusive<T>,
    ) {
        if !range.contains(value) {
            self.add(
                path,
                format!("{value} is out of range: give {} to {}", range.start(), range.end()),
            );
        }
    }
}

pub(crate) fn undefined(what: &str, name: &str, defined: &[&str]) -> String {
    let defined = if defined.is_empty() { "none".to_owned() } else { defined.join(", ") };
    format!("{what} {name:?} is not defined; defined: {defined}")
}

/// An absolute http(s) URL with a host and without a password.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text)
        .map_err(|e| format!("{text:?} is not a URL: {e}; write it as http://host:port/path"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!(
            "{text:?} is not an http or https URL; write it as http://host:port/path"
        ));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err("the URL has a user or a password in it, which would be shown in logs and \
                    answers: put a secret into secret_file instead"
            .to_owned());
    }
    Ok(())
}

fn check_mailbox(text: &str) -> Result<(), String> {
    text.parse::<Mailbox>()
        .map(drop)
        .map_err(|e| format!("{text:?} is not a mail address: {e}; write it as name@example.org"))
}

impl AlertingConfig {
    /// Checks everything, including that the files it names can be read.
    ///
    /// # Errors
    /// All that is wrong, each with its path and its remedy.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut found = Findings::default();
        found.range("lease_ttl_seconds".into(), &self.lease_ttl_seconds, &LEASE_TTL_SECONDS);
        let kept = &self.drain_retention_hours;
        found.range("drain_retention_hours".into(), kept, &DRAIN_RETENTION_HOURS);
        if !self.external_url.is_empty() {
            found.check("external_url", check_url(&self.external_url));
        }
        if let Some(smtp) = &self.smtp {
            check_smtp(&mut found, smtp);
        }
        self.check_recipients(&mut found);
        self.check_duty(&mut found);
        found.names(
            "failover policy",
            self.failover
                .iter()
                .enumerate()
                .map(|(at, p)| (format!("failover[{at}].name"), &*p.name)),
        );
        self.check_failover(&mut found);
        self.check_verdicts(&mut found);
        let source = self.data_source.as_ref().and_then(|source| source.check().err());
        if let Some((field, message)) = source {
            found.add(format!("data_source.{field}"), message);
        }
        self.check_rules(&mut found);
        if found.0.is_empty() { Ok(()) } else { Err(found.0) }
    }

    fn check_rules(&self, found: &mut Findings) {
        let interval = parse_duration(&self.evaluation_interval).and_then(|interval| {
            let message = "0: give the time between evaluations, such as 1m";
            if interval.is_zero() { Err(message.to_owned()) } else { Ok(()) }
        });
        found.check("evaluation_interval".to_owned(), interval);
        let offset = parse_duration(&self.rule_query_offset).map(drop);
        found.check("rule_query_offset".to_owned(), offset);
    }

    fn check_verdicts(&self, found: &mut Findings) {
        found.range("opinions_min".into(), &self.opinions_min, &OPINIONS_MIN);
        let percent = self.panic_threshold_percent;
        found.range("panic_threshold_percent".into(), &percent, &PANIC_PERCENT);
        found.range("panic_instances_min".into(), &self.panic_instances_min, &PANIC_INSTANCES_MIN);
        let ids = self.maintenance.iter().enumerate();
        found.names(
            "maintenance window",
            ids.map(|(at, window)| (format!("maintenance[{at}].id"), &*window.id)),
        );
        for (at, window) in self.maintenance.iter().enumerate() {
            // A bad id is said already.
            if check_name("maintenance window", &window.id).is_ok() {
                found.check(format!("maintenance[{at}]"), Window::new(window.clone()).map(drop));
            }
        }
    }

    fn check_recipients(&self, found: &mut Findings) {
        let people = self
            .people
            .iter()
            .map(|p| (&p.name, &p.email, &p.webhook, (&p.secret_file, &p.secret_next_file)));
        let receivers = self
            .receivers
            .iter()
            .map(|r| (&r.name, &r.email, &r.webhook, (&r.secret_file, &r.secret_next_file)));
        let all: Vec<_> = people
            .enumerate()
            .map(|(at, p)| (format!("people[{at}]"), p))
            .chain(receivers.enumerate().map(|(at, r)| (format!("receivers[{at}]"), r)))
            .collect();
        // One name space: a page names its receiver, and a person is one.
        found.names(
            "receiver or person",
            all.iter().map(|(path, p)| (format!("{path}.name"), &**p.0)),
        );
        for (path, (name, email, webhook, secrets)) in all {
            if email.is_none() && webhook.is_none() {
                found.add(&path, format!("{name:?} cannot be reached: set email, webhook or both"));
            }
            if let Some(email) = email {
                found.check(format!("{path}.email"), check_mailbox(email));
                if self.smtp.is_none() {
                    let message = format!(
                        "{name:?} is told by e-mail, but there is no mail server: set smtp"
                    );
                    found.add(format!("{path}.email"), message);
                }
            }
            if let Some(url) = webhook {
                found.check(format!("{path}.webhook"), check_url(url));
            }
            check_secrets(found, &path, secrets);
        }
    }
}

/// A secret, and the one that follows.
pub(super) fn check_secrets(
    found: &mut Findings,
    path: &str,
    (file, next): (&Option<String>, &Option<String>),
) {
    for (name, file) in [("secret_file", file), ("secret_next_file", next)] {
        if let Some(file) = file {
            found.check(format!("{path}.{name}"), Secret::read(file).map(drop));
        }
    }
    if next.is_some() && file.is_none() {
        let message = "it follows secret_file, which is not set: call it secret_file";
        found.add(format!("{path}.secret_next_file"), message);
    }
}

fn check_smtp(found: &mut Findings, smtp: &SmtpConfig) {
    if smtp.host.is_empty() || smtp.host.contains(['/', ' ']) {
        found.add("smtp.host", format!("{:?} is not a host: give a name or an address", smtp.host));
    }
    if smtp.port == 0 {
        found.add("smtp.port", "port 0 is not allowed: give 25, 465, 587 or another");
    }
    found.check("smtp.from", check_mailbox(&smtp.from));
    if let Some(file) = &smtp.password_file {
        let read = Secret::read(file).and_then(|secret| secret.text().map(drop));
        found.check("smtp.password_file", read);
    }
    if smtp.username.is_some() != smtp.password_file.is_some() {
        found.add("smtp.username", "username and password_file go together: set both or neither");
    }
    if let Some(file) = &smtp.ca_file {
        if smtp.tls == SmtpTls::None {
            found.add(
                "smtp.ca_file",
                "it is of no use with tls: none; set tls: starttls or tls: tls",
            );
        }
        found.check("smtp.ca_file", crate::notify::email::read_ca(file).map(drop));
    }
}
