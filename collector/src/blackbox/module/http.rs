//! Prober `http` as our check.

use watchkeep_catalog::{
    Authorization, BasicAuth, Compression, HeaderMatch, HttpCheck, HttpVersion, OAuth2, Proxy,
    Scheme, Secret,
};

use super::{path, secret, tls};
use crate::blackbox::{
    config::{self, HeaderRule, HttpModule},
    target::Aim,
};

/// Redirects that are followed, as blackbox_exporter does.
const REDIRECTS_MAX: u8 = 10;
/// Most of a body that is read where the module has no limit.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// The check of `module` for a target.
///
/// # Errors
/// In words, when the proxy is none.
pub(super) fn check(
    module: &HttpModule,
    aim: &Aim,
    hostname: Option<&str>,
) -> Result<HttpCheck, String> {
    let mut headers = module.headers.clone();
    if let Some(hostname) = hostname {
        headers.retain(|name, _| !name.eq_ignore_ascii_case("host"));
        headers.insert("host".to_owned(), hostname.to_owned());
    }
    let limit = match module.body_size_limit.0 {
        0 => BODY_BYTES_MAX,
        bytes => bytes.min(BODY_BYTES_MAX),
    };
    let mut check = HttpCheck {
        scheme: if aim.https { Scheme::Https } else { Scheme::Http },
        method: if module.method.is_empty() { "GET".to_owned() } else { module.method.clone() },
        path: aim.path.clone(),
        headers,
        body: module.body.clone().filter(|body| !body.is_empty()),
        body_file: module.body_file.as_deref().map(path),
        version: if module.enable_http2 { HttpVersion::Auto } else { HttpVersion::Http1 },
        tls: tls(&module.tls_config),
        proxy: module
            .proxy_url
            .as_ref()
            .map(|url| proxy(module, &url.0).map(Box::new))
            .transpose()?,
        redirects_max: if module.follows_redirects() { REDIRECTS_MAX } else { 0 },
        body_bytes_max: Some(limit),
        compression: match module.compression.as_str() {
            "gzip" => Some(Compression::Gzip),
            "deflate" => Some(Compression::Deflate),
            "identity" => Some(Compression::Identity),
            _ => None,
        },
        expected_status: module.valid_status_codes.iter().map(|code| (*code).into()).collect(),
        expected_versions: module.valid_http_versions.clone(),
        body_must_match: module.fail_if_body_not_matches_regexp.clone(),
        body_must_not_match: module.fail_if_body_matches_regexp.clone(),
        headers_must_match: rules(&module.fail_if_header_not_matches),
        headers_must_not_match: rules(&module.fail_if_header_matches),
        fail_if_ssl: module.fail_if_ssl,
        fail_if_not_ssl: module.fail_if_not_ssl,
        ..HttpCheck::default()
    };
    identify(&mut check, module);
    let known =
        check.basic_auth.is_some() || check.authorization.is_some() || check.oauth2.is_some();
    if let Some(user) = aim.user.as_deref().filter(|_| !known) {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let password = Some(Secret::Literal(password.to_owned()));
        check.basic_auth = Some(BasicAuth { username: name.to_owned(), password });
    }
    Ok(check)
}

/// Who we are to the server.
fn identify(check: &mut HttpCheck, module: &HttpModule) {
    check.basic_auth = module.basic_auth.as_ref().map(|basic| BasicAuth {
        username: basic.username.clone(),
        password: secret(basic.password.as_ref(), basic.password_file.as_ref()),
    });
    let bearer = secret(module.bearer_token.as_ref(), module.bearer_token_file.as_ref());
    let bearer =
        bearer.map(|credentials| Authorization { scheme: "Bearer".to_owned(), credentials });
    let other = module.authorization.as_ref().and_then(|given| {
        let credentials = secret(given.credentials.as_ref(), given.credentials_file.as_ref())?;
        let scheme = given.scheme.clone().unwrap_or_else(|| "Bearer".to_owned());
        Some(Authorization { scheme, credentials })
    });
    check.authorization = bearer.or(other);
    check.oauth2 = module.oauth2.as_ref().map(|given: &config::OAuth2| {
        Box::new(OAuth2 {
            client_id: given.client_id.clone(),
            client_secret: secret(given.client_secret.as_ref(), given.client_secret_file.as_ref())
                .unwrap_or_else(|| Secret::Literal(String::new())),
            token_url: given.token_url.clone(),
            scopes: given.scopes.clone(),
            endpoint_params: given.endpoint_params.clone(),
            tls: given.tls_config.as_ref().map(tls).unwrap_or_default(),
            proxy: check.proxy.clone(),
        })
    });
}

fn rules(rules: &[HeaderRule]) -> Vec<HeaderMatch> {
    let each = rules.iter().map(|rule| HeaderMatch {
        header: rule.header.clone(),
        regexp: rule.regexp.clone(),
        allow_missing: rule.allow_missing,
    });
    each.collect()
}

/// `http://[user[:password]@]host:port`; the password is never in a message.
fn proxy(module: &HttpModule, url: &str) -> Result<Proxy, String> {
    let rest = url.strip_prefix("http://").ok_or("proxy_url: begin it with http://")?;
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((name, password)) => {
            (Some(name.to_owned()), Some(Secret::Literal(password.to_owned())))
        }
        None => (None, None),
    };
    Ok(Proxy {
        url: format!("http://{host}"),
        username,
        password,
        connect_headers: Default::default(),
        no_proxy: Vec::new(),
        resolves: module.skip_resolve_phase_with_proxy,
    })
}
