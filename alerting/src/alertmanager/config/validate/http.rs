//! What can be wrong with URLs, secrets and `http_config`.

use url::Url;

use super::Findings;
use crate::{
    alertmanager::config::{HttpConfig, TlsConfig, value::Hidden},
    config::Secret,
};

/// An absolute http(s) URL. It may be secret, so it is not quoted.
pub(super) fn check_url(found: &mut Findings, path: String, text: &str) {
    match Url::parse(text) {
        Err(error) => {
            found.add(path, format!("it is not a URL: {error}; write it as http://host:port/path"));
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() => {
            found.add(path, "it is not an http or https URL; write it as http://host:port/path");
        }
        Ok(_) => {}
    }
}

/// One of a secret and its file; `missing` says what to do when there is neither and there must be one.
pub(super) fn check_secret(
    found: &mut Findings,
    path: &str,
    field: &str,
    (secret, file): (Option<&Hidden>, Option<&String>),
    needed: bool,
) {
    match (secret, file) {
        (Some(_), Some(_)) => {
            let message = format!("{field} and {field}_file exclude each other: give one of them");
            found.add(format!("{path}.{field}_file"), message);
        }
        (Some(secret), None) if secret.0.is_empty() => {
            found.add(format!("{path}.{field}"), format!("is empty: give {field} or {field}_file"));
        }
        (None, Some(file)) => {
            found.check(format!("{path}.{field}_file"), Secret::read(file));
        }
        (None, None) if needed => {
            found.add(
                format!("{path}.{field}"),
                format!("is missing: give {field} or {field}_file"),
            );
        }
        _ => {}
    }
}

pub(super) fn check_http(found: &mut Findings, path: &str, http: Option<&HttpConfig>) {
    let Some(http) = http else { return };
    let ways = [
        http.basic_auth.is_some(),
        http.authorization.is_some(),
        http.bearer_token.is_some() || http.bearer_token_file.is_some(),
        http.oauth2.is_some(),
    ];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        let message = "basic_auth, authorization, bearer_token and oauth2 exclude each other: give one of them";
        found.add(path, message);
    }
    if let Some(auth) = &http.oauth2 {
        let path = format!("{path}.oauth2");
        if auth.client_id.is_empty() {
            found.add(format!("{path}.client_id"), "is missing: give the client's name");
        }
        let given = (auth.client_secret.as_ref(), auth.client_secret_file.as_ref());
        check_secret(found, &path, "client_secret", given, true);
        check_url(found, format!("{path}.token_url"), &auth.token_url);
        if let Some(url) = &auth.proxy_url {
            check_url(found, format!("{path}.proxy_url"), url);
        }
        check_tls(found, &format!("{path}.tls_config"), auth.tls_config.as_ref());
    }
    if http.proxy_from_environment {
        let message = "the environment is not read: name the proxy in proxy_url";
        found.add(format!("{path}.proxy_from_environment"), message);
    }
    if let Some(url) = &http.proxy_url {
        check_url(found, format!("{path}.proxy_url"), url);
    }
    if http.no_proxy.is_some() && http.proxy_url.is_none() {
        let message = "without proxy_url there is no proxy to go around: give both, or take it out";
        found.add(format!("{path}.no_proxy"), message);
    }
    if let Some(auth) = &http.basic_auth {
        let path = format!("{path}.basic_auth");
        check_secret(
            found,
            &path,
            "password",
            (auth.password.as_ref(), auth.password_file.as_ref()),
            false,
        );
    }
    if let Some(auth) = &http.authorization {
        let path = format!("{path}.authorization");
        let given = (auth.credentials.as_ref(), auth.credentials_file.as_ref());
        check_secret(found, &path, "credentials", given, true);
        if auth.kind.trim().is_empty() || auth.kind.eq_ignore_ascii_case("basic") {
            found.add(
                format!("{path}.type"),
                format!("{:?} is not allowed: use basic_auth", auth.kind),
            );
        }
    }
    let bearer = (http.bearer_token.as_ref(), http.bearer_token_file.as_ref());
    check_secret(found, path, "bearer_token", bearer, false);
    for (name, header) in &http.http_headers {
        let path = format!("{path}.http_headers.{name}");
        for file in &header.files {
            found.check(format!("{path}.files"), Secret::read(file));
        }
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            found.add(path, format!("{name:?} is not a header's name"));
        }
    }
    check_tls(found, &format!("{path}.tls_config"), http.tls_config.as_ref());
}

pub(super) fn check_tls(found: &mut Findings, path: &str, tls: Option<&TlsConfig>) {
    let Some(tls) = tls else { return };
    if tls.server_name.is_some() {
        let message = "another name than the URL's is not supported: use that name in the URL";
        found.add(format!("{path}.server_name"), message);
    }
    if (tls.min_version.as_deref(), tls.max_version.as_deref()) == (Some("TLS13"), Some("TLS12")) {
        found.add(format!("{path}.min_version"), "it is later than max_version");
    }
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        found.add(
            format!("{path}.cert_file"),
            "cert_file and key_file go together: set both or neither",
        );
    }
    let files =
        [("ca_file", &tls.ca_file), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)];
    for (field, file) in files {
        if let Some(file) = file {
            let read = std::fs::read(file).map(drop);
            found.check(
                format!("{path}.{field}"),
                read.map_err(|e| format!("cannot read {file}: {e}; give a PEM file")),
            );
        }
    }
    for (field, version) in [("min_version", &tls.min_version), ("max_version", &tls.max_version)] {
        if version.as_deref().is_some_and(|v| !matches!(v, "TLS12" | "TLS13")) {
            found.add(format!("{path}.{field}"), "only TLS12 and TLS13 are spoken");
        }
    }
}
