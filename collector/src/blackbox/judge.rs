//! What is wrong with modules beyond their types: everything that a probe could only ever fail with.

use std::fmt::Display;

use http::{HeaderName, HeaderValue, Method};
use regex::bytes::Regex;

use super::config::{
    DnsModule, GrpcModule, HttpModule, IcmpModule, Module, Modules, ProberKind, RecordRules,
    TcpModule, TlsSettings,
};
use crate::Invalid;

/// Largest payload of an echo request: an IPv4 packet's 65535 bytes without its headers.
const PAYLOAD_BYTES_MAX: u32 = 65_507;
/// Versions of HTTP as answers name them.
const HTTP_VERSIONS: [&str; 4] = ["HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0"];
/// Ways to compress an answer that can be undone here.
const COMPRESSIONS: [&str; 3] = ["gzip", "deflate", "identity"];
/// Said of an option that our probes have no counterpart for.
const ABSENT: &str = "is not supported here: remove it from this module";

impl Modules {
    /// Checks every module.
    ///
    /// # Errors
    /// All that is wrong, paths as in the file: `modules.http_2xx.http.method`.
    pub fn validate(&self) -> Result<(), Vec<Invalid>> {
        let mut wrong = Vec::new();
        for (name, module) in &self.modules {
            let at = format!("modules.{name}");
            judge(&mut Judge { at, wrong: &mut wrong }, module);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// Collects what is wrong below one path.
struct Judge<'a> {
    at: String,
    wrong: &'a mut Vec<Invalid>,
}

impl Judge<'_> {
    fn refuse(&mut self, field: impl Display, message: impl Into<String>) {
        let path = format!("{}.{field}", self.at);
        self.wrong.push(Invalid { path, message: message.into() });
    }

    fn below(&mut self, field: impl Display) -> Judge<'_> {
        Judge { at: format!("{}.{field}", self.at), wrong: self.wrong }
    }

    fn pattern(&mut self, field: impl Display, pattern: &str) {
        if let Err(error) = Regex::new(pattern) {
            self.refuse(field, format!("{pattern:?} is not a regular expression: {error}"));
        }
    }

    fn patterns(&mut self, field: &str, patterns: &[String]) {
        for (at, pattern) in patterns.iter().enumerate() {
            self.pattern(format_args!("{field}[{at}]"), pattern);
        }
    }

    fn one_of(&mut self, field: impl Display, value: &str, known: &[&str]) {
        if !known.contains(&value) {
            self.refuse(field, format!("is {value:?}: give one of {}", known.join(", ")));
        }
    }

    /// None of these may be given.
    fn absent(&mut self, fields: &[(&str, bool)]) {
        for (field, _) in fields.iter().filter(|(_, given)| *given) {
            self.refuse(field, ABSENT);
        }
    }

    /// At most one of these is given.
    fn exclusive(&mut self, fields: &[(&str, bool)]) {
        let given: Vec<_> = fields.iter().filter(|(_, given)| *given).map(|(f, _)| *f).collect();
        if let [first, second, ..] = given[..] {
            self.refuse(second, format!("stands beside {first}: give one of them"));
        }
    }
}

fn judge(at: &mut Judge<'_>, module: &Module) {
    if module.prober.is_none() {
        at.refuse("prober", "is missing: give http, tcp, dns, icmp or grpc");
    }
    // Only the prober's own section counts, but a mistake in another is one, too.
    if let Some(http) = &module.http {
        judge_http(&mut at.below("http"), http);
    }
    if let Some(tcp) = &module.tcp {
        judge_tcp(&mut at.below("tcp"), tcp);
    }
    match &module.dns {
        Some(dns) => judge_dns(&mut at.below("dns"), dns),
        None if module.prober == Some(ProberKind::Dns) => {
            at.refuse("dns", "is missing: say in query_name which name is asked for");
        }
        None => {}
    }
    if let Some(IcmpModule { payload_size, .. }) = &module.icmp {
        let mut at = at.below("icmp");
        if *payload_size > PAYLOAD_BYTES_MAX {
            let message = format!("is {payload_size}: give 0 to {PAYLOAD_BYTES_MAX}");
            at.refuse("payload_size", message);
        }
    }
    if let Some(GrpcModule { tls_config, .. }) = &module.grpc {
        judge_tls(&mut at.below("grpc"), tls_config);
    }
}

fn judge_http(at: &mut Judge<'_>, http: &HttpModule) {
    for (index, version) in http.valid_http_versions.iter().enumerate() {
        at.one_of(format_args!("valid_http_versions[{index}]"), version, &HTTP_VERSIONS);
    }
    if !http.method.is_empty() && http.method.parse::<Method>().is_err() {
        at.refuse("method", format!("{:?} is not a method; write it like GET", http.method));
    }
    if !http.compression.is_empty() {
        at.one_of("compression", &http.compression, &COMPRESSIONS);
    }
    for (name, value) in &http.headers {
        if name.parse::<HeaderName>().is_err() {
            let message = format!("{name:?} is not a header's name: use letters, digits and -");
            at.refuse(format_args!("headers.{name}"), message);
        }
        // Not shown: it may be a token.
        if HeaderValue::from_str(value).is_err() {
            let message = "the value has a line break or another control character: remove it";
            at.refuse(format_args!("headers.{name}"), message);
        }
    }
    at.patterns("fail_if_body_matches_regexp", &http.fail_if_body_matches_regexp);
    at.patterns("fail_if_body_not_matches_regexp", &http.fail_if_body_not_matches_regexp);
    for (field, rules) in [
        ("fail_if_header_matches", &http.fail_if_header_matches),
        ("fail_if_header_not_matches", &http.fail_if_header_not_matches),
    ] {
        for (index, rule) in rules.iter().enumerate() {
            let mut at = at.below(format_args!("{field}[{index}]"));
            if rule.header.parse::<HeaderName>().is_err() {
                at.refuse("header", format!("{:?} is not a header's name", rule.header));
            }
            if rule.regexp.is_empty() {
                at.refuse("regexp", "is empty: give the pattern that the header is matched with");
            }
            at.pattern("regexp", &rule.regexp);
        }
    }
    at.absent(&[
        ("fail_if_body_json_matches_cel", http.fail_if_body_json_matches_cel.is_some()),
        ("fail_if_body_json_not_matches_cel", http.fail_if_body_json_not_matches_cel.is_some()),
    ]);
    if http.proxy_url.as_ref().is_some_and(|url| !url.0.starts_with("http://")) {
        at.refuse("proxy_url", "begins with something else than http://: give http://host:port");
    }
    at.exclusive(&[("body", http.body.is_some()), ("body_file", http.body_file.is_some())]);
    judge_identity(at, http);
    judge_tls(at, &http.tls_config);
}

/// Who we are to the server: said in one way only.
fn judge_identity(at: &mut Judge<'_>, http: &HttpModule) {
    at.exclusive(&[
        ("basic_auth", http.basic_auth.is_some()),
        ("authorization", http.authorization.is_some()),
        ("bearer_token", http.bearer_token.is_some()),
        ("bearer_token_file", http.bearer_token_file.is_some()),
        ("oauth2", http.oauth2.is_some()),
    ]);
    if let Some(basic) = &http.basic_auth {
        let (password, file) = (basic.password.is_some(), basic.password_file.is_some());
        at.below("basic_auth").exclusive(&[("password", password), ("password_file", file)]);
    }
    if let Some(authorization) = &http.authorization {
        let mut at = at.below("authorization");
        let (here, file) =
            (authorization.credentials.is_some(), authorization.credentials_file.is_some());
        at.exclusive(&[("credentials", here), ("credentials_file", file)]);
        if authorization.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("basic")) {
            at.refuse("type", "is Basic: use basic_auth with username and password instead");
        }
    }
    if let Some(oauth2) = &http.oauth2 {
        let mut at = at.below("oauth2");
        let (here, file) = (oauth2.client_secret.is_some(), oauth2.client_secret_file.is_some());
        at.exclusive(&[("client_secret", here), ("client_secret_file", file)]);
        if oauth2.client_id.is_empty() {
            at.refuse("client_id", "is empty: give the id that the token's server knows");
        }
        if oauth2.token_url.is_empty() {
            at.refuse("token_url", "is empty: give the URL that tokens are had from");
        }
        if let Some(tls) = &oauth2.tls_config {
            judge_tls(&mut at, tls);
        }
    }
}

fn judge_tcp(at: &mut Judge<'_>, tcp: &TcpModule) {
    for (index, step) in tcp.query_response.iter().enumerate() {
        let mut at = at.below(format_args!("query_response[{index}]"));
        at.pattern("expect", &step.expect);
        at.absent(&[("labels", !step.labels.is_empty())]);
    }
    judge_tls(at, &tcp.tls_config);
}

fn judge_dns(at: &mut Judge<'_>, dns: &DnsModule) {
    if dns.query_name.is_empty() {
        at.refuse("query_name", "is empty: give the name that is asked for; the root is \".\"");
    }
    if !dns.transport_protocol.is_empty() {
        at.one_of("transport_protocol", &dns.transport_protocol, &["udp", "tcp"]);
    }
    if dns.dns_over_tls && dns.transport_protocol != "tcp" {
        at.refuse("dns_over_tls", "runs over TCP: set transport_protocol: tcp");
    }
    for (field, rules) in [
        ("validate_answer_rrs", &dns.validate_answer_rrs),
        ("validate_authority_rrs", &dns.validate_authority_rrs),
        ("validate_additional_rrs", &dns.validate_additional_rrs),
    ] {
        let mut at = at.below(field);
        let RecordRules {
            fail_if_matches_regexp,
            fail_if_all_match_regexp,
            fail_if_not_matches_regexp,
            fail_if_none_matches_regexp,
        } = rules;
        at.patterns("fail_if_matches_regexp", fail_if_matches_regexp);
        at.patterns("fail_if_all_match_regexp", fail_if_all_match_regexp);
        at.patterns("fail_if_not_matches_regexp", fail_if_not_matches_regexp);
        at.patterns("fail_if_none_matches_regexp", fail_if_none_matches_regexp);
    }
    judge_tls(at, &dns.tls_config);
}

fn judge_tls(at: &mut Judge<'_>, tls: &TlsSettings) {
    let mut at = at.below("tls_config");
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        at.refuse("cert_file", "cert_file and key_file go together: give both or neither");
    }
    if let Some(version) = &tls.min_version {
        // Older versions are accepted as a lower bound: what is spoken is 1.2 at least.
        at.one_of("min_version", version, &["TLS10", "TLS11", "TLS12", "TLS13"]);
    }
    if let Some(version) = &tls.max_version {
        at.one_of("max_version", version, &["TLS12", "TLS13"]);
    }
}
