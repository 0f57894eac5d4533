//! What the certificates of a server tell: when they end, whose they are, and who vouches for them.

use std::{collections::HashMap, fmt::Write};

use ring::digest::{SHA256, digest};
use rustls::{ProtocolVersion, RootCertStore, pki_types::CertificateDer};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::probe::Stopwatch;

/// Go's zero time as a Unix time: what blackbox_exporter says when no chain was verified.
const NO_CHAIN: i64 = -62_135_596_800;

/// Who is trusted: subject to end of validity, where it is known (that of the public roots is not).
#[derive(Debug, Default)]
pub(crate) struct Anchors(HashMap<Vec<u8>, Option<i64>>);

impl Anchors {
    /// `certificates` are those of `roots`, if they are at hand.
    pub(super) fn of(roots: &RootCertStore, certificates: &[CertificateDer<'_>]) -> Self {
        let mut anchors: HashMap<_, _> =
            roots.roots.iter().map(|root| (root.subject.to_vec(), None)).collect();
        for certificate in certificates {
            if let Ok((_, read)) = X509Certificate::from_der(certificate) {
                let end = read.validity().not_after.timestamp();
                anchors.insert(content(read.subject()).to_vec(), Some(end));
            }
        }
        Self(anchors)
    }
}

/// A name without the head (tag and length) of its sequence: so trust anchors have it.
fn content<'a>(name: &'a X509Name<'_>) -> &'a [u8] {
    let raw = name.as_raw();
    let head = match raw.get(1) {
        Some(length) if *length >= 0x80 => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    raw.get(head..).unwrap_or_default()
}

/// What a server showed.
#[derive(Debug)]
pub(crate) struct Shown {
    certificates: Vec<CertificateDer<'static>>,
    version: Option<ProtocolVersion>,
    /// First end of validity among all that were shown, Unix seconds.
    pub(crate) earliest_end: i64,
    /// End of the leaf's validity.
    pub(crate) leaf_end: i64,
    leaf_begin: i64,
    /// End of the chain to a trusted root that lasts longest.
    pub(crate) chain_end: i64,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    dns_names: Vec<String>,
    serial: String,
    fingerprint: String,
}

impl Shown {
    pub(super) fn is(
        &self,
        certificates: &[CertificateDer<'_>],
        version: Option<ProtocolVersion>,
    ) -> bool {
        self.version == version && self.certificates == certificates
    }

    /// None: the first certificate cannot be read, or there is none.
    pub(super) fn read(
        certificates: &[CertificateDer<'static>],
        version: Option<ProtocolVersion>,
        anchors: &Anchors,
    ) -> Option<Self> {
        let read: Vec<_> = certificates
            .iter()
            .filter_map(|der| X509Certificate::from_der(der).ok())
            .map(|(_, certificate)| certificate)
            .collect();
        let leaf = read.first()?;
        let ends = read.iter().map(|certificate| certificate.validity().not_after.timestamp());
        let names = leaf.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let dns_names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Some(Self {
            certificates: certificates.to_vec(),
            version,
            earliest_end: ends.min()?,
            leaf_end: leaf.validity().not_after.timestamp(),
            leaf_begin: leaf.validity().not_before.timestamp(),
            chain_end: chain_end(&read, 0, anchors, &mut vec![false; read.len()])
                .unwrap_or(NO_CHAIN),
            subject: go_name(leaf.subject()),
            issuer: go_name(leaf.issuer()),
            dns_names: dns_names.collect(),
            serial: leaf.serial.to_str_radix(16),
            fingerprint: hex::encode(digest(&SHA256, certificates.first()?).as_ref()),
        })
    }

    /// As Go names it: `TLS 1.3`.
    pub(crate) fn version(&self) -> &'static str {
        match self.version {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "unknown",
        }
    }

    pub(crate) fn tell(&self, watch: &mut Stopwatch) {
        watch.fact("probe_ssl_earliest_cert_expiry", self.earliest_end as f64);
        watch.fact("probe_ssl_last_chain_expiry_timestamp_seconds", self.chain_end as f64);
        let labels = [
            ("fingerprint_sha256", self.fingerprint.as_str()),
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("subjectalternative", &self.dns_names.join(",")),
        ];
        watch.fact_with("probe_ssl_last_chain_info", &labels, 1.0);
        watch.fact_with("probe_tls_version_info", &[("version", self.version())], 1.0);
        if watch.exposes() {
            watch.expose("certificate", self.json());
        }
        watch.note(|| format!("{} with {}, by {}", self.version(), self.subject, self.issuer));
    }

    fn json(&self) -> Value {
        json!({
            "subject": self.subject,
            "issuer": self.issuer,
            "dns_names": self.dns_names,
            "serial": self.serial,
            "fingerprint_sha256": self.fingerprint,
            "not_before": self.leaf_begin,
            "not_after": self.leaf_end,
            "earliest_not_after": self.earliest_end,
            "tls_version": self.version(),
        })
    }
}

/// The end of the chain from certificate `at` to a trusted root that lasts longest. Signatures have been
/// verified already; names are enough to find the chains.
fn chain_end(
    shown: &[X509Certificate<'_>],
    at: usize,
    anchors: &Anchors,
    seen: &mut Vec<bool>,
) -> Option<i64> {
    let certificate = &shown[at];
    let end = certificate.validity().not_after.timestamp();
    let anchor = anchors.0.get(content(certificate.issuer()));
    let mut best = anchor.map(|root| root.map_or(end, |root| root.min(end)));
    seen[at] = true;
    for next in 0..shown.len() {
        if !seen[next] && shown[next].subject().as_raw() == certificate.issuer().as_raw() {
            best = best.max(chain_end(shown, next, anchors, seen).map(|more| more.min(end)));
        }
    }
    seen[at] = false;
    best
}

/// A distinguished name as Go's `pkix.Name` writes it: known attributes in a fixed order, then the others.
fn go_name(name: &X509Name<'_>) -> String {
    /// Object identifiers 2.5.4.x, in the order in which they are written.
    const KNOWN: [(&str, &str); 9] = [
        ("2.5.4.5", "SERIALNUMBER"),
        ("2.5.4.3", "CN"),
        ("2.5.4.17", "POSTALCODE"),
        ("2.5.4.9", "STREET"),
        ("2.5.4.8", "ST"),
        ("2.5.4.7", "L"),
        ("2.5.4.11", "OU"),
        ("2.5.4.10", "O"),
        ("2.5.4.6", "C"),
    ];
    let mut known: [Vec<String>; 9] = Default::default();
    let mut others = Vec::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        match KNOWN.iter().position(|(id, _)| *id == oid) {
            Some(at) => {
                let text = attribute.as_str().map(escape).unwrap_or_default();
                // A name and a serial number stand once: the last.
                if at < 2 {
                    known[at].clear();
                }
                known[at].push(format!("{}={text}", KNOWN[at].1));
            }
            None => {
                let value = attribute.attr_value();
                let mut text = format!("{oid}=#");
                let _ = write!(text, "{:02x}{:02x}", value.header.tag().0, value.data.len());
                text.push_str(&hex::encode(value.data));
                others.push(text);
            }
        }
    }
    others.reverse();
    let known = known.into_iter().filter(|all| !all.is_empty()).map(|all| all.join("+"));
    known.chain(others).collect::<Vec<_>>().join(",")
}

/// RFC 2253 §2.4.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, letter) in text.chars().enumerate() {
        let special = match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
