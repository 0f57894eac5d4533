//! What can be wrong with receivers: names, missing URLs and keys, types that are not supported.

use std::collections::BTreeSet;

use super::{
    AlertmanagerConfig, Findings,
    http::{check_http, check_secret, check_tls, check_url},
};
use crate::alertmanager::{
    config::{EmailConfig, Global, HttpConfig, Receiver, TlsConfig, value::Hidden},
    notify::check_addresses,
};

const NO_CRAM_MD5: &str = "CRAM-MD5 is not supported: use auth_username and auth_password";

/// The types there are here.
const SUPPORTED: &str =
    "email, webhook, slack, pagerduty, opsgenie, telegram, discord, msteamsv2, oncall";

pub(super) fn check_all(found: &mut Findings, config: &AlertmanagerConfig) {
    check_global(found, &config.global);
    let mut names = BTreeSet::new();
    for (at, receiver) in config.receivers.iter().enumerate() {
        let path = format!("receivers[{at}]");
        if receiver.name.is_empty() {
            found.add(format!("{path}.name"), "is empty: give each receiver a name");
        } else if !names.insert(&receiver.name) {
            let message =
                format!("receiver {:?} is defined twice: give each its own name", receiver.name);
            found.add(format!("{path}.name"), message);
        }
        check_supported(found, &path, receiver);
        check_receiver(found, &path, receiver, &config.global);
    }
}

fn check_global(found: &mut Findings, global: &Global) {
    let pairs = [
        ("slack_api_url", &global.slack_api_url, &global.slack_api_url_file),
        ("opsgenie_api_key", &global.opsgenie_api_key, &global.opsgenie_api_key_file),
        ("smtp_auth_password", &global.smtp_auth_password, &global.smtp_auth_password_file),
        ("smtp_auth_secret", &global.smtp_auth_secret, &global.smtp_auth_secret_file),
    ];
    for (field, secret, file) in pairs {
        check_secret(found, "global", field, (secret.as_ref(), file.as_ref()), false);
    }
    if global.smtp_auth_secret.is_some() || global.smtp_auth_secret_file.is_some() {
        found.add("global.smtp_auth_secret", NO_CRAM_MD5);
    }
    check_mail_tls(found, "global.smtp_tls_config", global.smtp_tls_config.as_ref());
    check_http(found, "global.http_config", global.http_config.as_ref());
    check_tls(found, "global.smtp_tls_config", global.smtp_tls_config.as_ref());
    for (field, url) in [
        ("pagerduty_url", &global.pagerduty_url),
        ("opsgenie_api_url", &global.opsgenie_api_url),
        ("telegram_api_url", &global.telegram_api_url),
    ] {
        check_url(found, format!("global.{field}"), url);
    }
    if global.resolve_timeout.0.is_zero() {
        found.add("global.resolve_timeout", "0 is not allowed: every alert would be over at once");
    }
}

fn check_supported(found: &mut Findings, path: &str, receiver: &Receiver) {
    for (name, given) in [
        ("wechat", &receiver.wechat_configs),
        ("victorops", &receiver.victorops_configs),
        ("pushover", &receiver.pushover_configs),
        ("sns", &receiver.sns_configs),
        ("webex", &receiver.webex_configs),
        ("msteams", &receiver.msteams_configs),
        ("jira", &receiver.jira_configs),
        ("rocketchat", &receiver.rocketchat_configs),
        ("mattermost", &receiver.mattermost_configs),
        ("incidentio", &receiver.incidentio_configs),
    ] {
        if given.is_some() {
            let message = format!(
                "{name} is not supported; supported: {SUPPORTED}. webhook_configs reach anything else"
            );
            found.add(format!("{path}.{name}_configs"), message);
        }
    }
}

/// A URL that may lie in a file.
fn check_secret_url(
    found: &mut Findings,
    path: &str,
    field: &str,
    (url, file): (Option<&Hidden>, Option<&String>),
    needed: bool,
) {
    check_secret(found, path, field, (url, file), needed);
    if let Some(url) = url.filter(|url| !url.0.is_empty()) {
        check_url(found, format!("{path}.{field}"), &url.0);
    }
}

fn check_receiver(found: &mut Findings, path: &str, receiver: &Receiver, global: &Global) {
    let http = |found: &mut Findings, path: &str, http: &Option<HttpConfig>| {
        check_http(found, &format!("{path}.http_config"), http.as_ref());
    };
    for (at, email) in receiver.email_configs.iter().enumerate() {
        check_email(found, &format!("{path}.email_configs[{at}]"), email, global);
    }
    for (at, webhook) in receiver.webhook_configs.iter().enumerate() {
        let path = format!("{path}.webhook_configs[{at}]");
        http(found, &path, &webhook.http_config);
        check_secret_url(
            found,
            &path,
            "url",
            (webhook.url.as_ref(), webhook.url_file.as_ref()),
            true,
        );
    }
    for (at, slack) in receiver.slack_configs.iter().enumerate() {
        let path = format!("{path}.slack_configs[{at}]");
        http(found, &path, &slack.http_config);
        let needed = global.slack_api_url.is_none() && global.slack_api_url_file.is_none();
        let given = (slack.api_url.as_ref(), slack.api_url_file.as_ref());
        check_secret_url(found, &path, "api_url", given, needed);
    }
    for (at, pagerduty) in receiver.pagerduty_configs.iter().enumerate() {
        let path = format!("{path}.pagerduty_configs[{at}]");
        http(found, &path, &pagerduty.http_config);
        if pagerduty.service_key.is_some() || pagerduty.service_key_file.is_some() {
            let message = "PagerDuty's Events API version 1 is not supported: use routing_key of an integration of version 2";
            found.add(format!("{path}.service_key"), message);
        } else {
            let given = (pagerduty.routing_key.as_ref(), pagerduty.routing_key_file.as_ref());
            check_secret(found, &path, "routing_key", given, true);
        }
        if let Some(url) = &pagerduty.url {
            check_url(found, format!("{path}.url"), url);
        }
    }
    for (at, opsgenie) in receiver.opsgenie_configs.iter().enumerate() {
        let path = format!("{path}.opsgenie_configs[{at}]");
        http(found, &path, &opsgenie.http_config);
        let needed = global.opsgenie_api_key.is_none() && global.opsgenie_api_key_file.is_none();
        let given = (opsgenie.api_key.as_ref(), opsgenie.api_key_file.as_ref());
        check_secret(found, &path, "api_key", given, needed);
        if let Some(url) = &opsgenie.api_url {
            check_url(found, format!("{path}.api_url"), url);
        }
    }
    for (at, telegram) in receiver.telegram_configs.iter().enumerate() {
        let path = format!("{path}.telegram_configs[{at}]");
        http(found, &path, &telegram.http_config);
        let given = (telegram.bot_token.as_ref(), telegram.bot_token_file.as_ref());
        check_secret(found, &path, "bot_token", given, true);
        if telegram.chat_id == 0 {
            found.add(format!("{path}.chat_id"), "is missing: give the chat's number");
        }
        if !matches!(telegram.parse_mode.as_str(), "" | "Markdown" | "MarkdownV2" | "HTML") {
            let message = format!(
                "{:?} is not known: give Markdown, MarkdownV2, HTML or nothing",
                telegram.parse_mode
            );
            found.add(format!("{path}.parse_mode"), message);
        }
    }
    for (at, discord) in receiver.discord_configs.iter().enumerate() {
        let path = format!("{path}.discord_configs[{at}]");
        http(found, &path, &discord.http_config);
        let given = (discord.webhook_url.as_ref(), discord.webhook_url_file.as_ref());
        check_secret_url(found, &path, "webhook_url", given, true);
    }
    for (at, teams) in receiver.msteamsv2_configs.iter().enumerate() {
        let path = format!("{path}.msteamsv2_configs[{at}]");
        http(found, &path, &teams.http_config);
        let given = (teams.webhook_url.as_ref(), teams.webhook_url_file.as_ref());
        check_secret_url(found, &path, "webhook_url", given, true);
    }
}

fn check_email(found: &mut Findings, path: &str, email: &EmailConfig, global: &Global) {
    if email.to.is_empty() {
        found.add(format!("{path}.to"), "is missing: give an address");
    }
    let smarthost = email.smarthost.as_ref().or(global.smtp_smarthost.as_ref());
    match smarthost.map(|host| host.rsplit_once(':')) {
        None => {
            let message = "is missing: give smarthost here or global.smtp_smarthost, as host:port";
            found.add(format!("{path}.smarthost"), message);
        }
        Some(Some((host, port))) if !host.is_empty() && port.parse::<u16>().is_ok() => {}
        Some(_) => found.add(format!("{path}.smarthost"), "write it as host:port"),
    }
    if email.from.is_none() && global.smtp_from.is_none() {
        found.add(format!("{path}.from"), "is missing: give from here or global.smtp_from");
    }
    let password = (email.auth_password.as_ref(), email.auth_password_file.as_ref());
    check_secret(found, path, "auth_password", password, false);
    if email.auth_secret.is_some() || email.auth_secret_file.is_some() {
        found.add(format!("{path}.auth_secret"), NO_CRAM_MD5);
    }
    let user = email.auth_username.as_ref().or(global.smtp_auth_username.as_ref());
    let identity = email.auth_identity.as_ref().or(global.smtp_auth_identity.as_ref());
    if identity.is_some_and(|identity| !identity.is_empty() && Some(identity) != user) {
        let message = "another identity than auth_username is not supported: take it out";
        found.add(format!("{path}.auth_identity"), message);
    }
    if !email.to.contains("{{") {
        found.check(format!("{path}.to"), check_addresses(&email.to));
    }
    let mut seen = BTreeSet::new();
    for name in email.headers.keys() {
        if !seen.insert(name.to_lowercase()) {
            found.add(format!("{path}.headers.{name}"), "stands here twice: name it once");
        }
    }
    check_tls(found, &format!("{path}.tls_config"), email.tls_config.as_ref());
    check_mail_tls(found, &format!("{path}.tls_config"), email.tls_config.as_ref());
}

/// What the way to a mail server cannot do.
fn check_mail_tls(found: &mut Findings, path: &str, tls: Option<&TlsConfig>) {
    let Some(tls) = tls else { return };
    if tls.cert_file.is_some() {
        let message = "certificates of clients are not supported for mail: use auth_username and auth_password";
        found.add(format!("{path}.cert_file"), message);
    }
    if tls.max_version.as_deref() == Some("TLS12") {
        let message = "a latest version is not supported for mail: take it out";
        found.add(format!("{path}.max_version"), message);
    }
}
