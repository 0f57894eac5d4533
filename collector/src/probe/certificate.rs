//! The TLS probe: a handshake, and a certificate that is valid, trusted, for this name, and for long enough.
//!
//! The handshake takes any certificate and judges it afterwards: so also one that is not good tells when it
//! ends and whose it is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::pki_types::UnixTime;
use watchkeep_catalog::TlsCheck;

use super::{Context, Endpoint, Stopwatch, tls::Tls};

const DAY_SECONDS: i64 = 86_400;

#[derive(Debug)]
pub(super) struct CertificateProbe {
    tls: Tls,
    expiry_days_min: i64,
    alpn: Vec<String>,
}

impl CertificateProbe {
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &TlsCheck,
        context: &Arc<Context>,
    ) -> Result<Self, String> {
        let alpn: Vec<_> = check.alpn.iter().map(String::as_str).collect();
        let tls = context.tls(&check.tls, &alpn, &endpoint.address)?;
        let expiry_days_min = check.expiry_days_min.into();
        Ok(Self { tls, expiry_days_min, alpn: check.alpn.clone() })
    }

    pub(super) async fn run(
        &self,
        endpoint: &Endpoint,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let stream = endpoint.connect(watch).await?;
        let made = self.tls.made();
        let stream = self.tls.handshake(made.lenient, stream, endpoint, watch).await?;
        let connection = stream.get_ref().1;
        let shown = self.tls.shown(connection);
        let shown = shown.ok_or_else(|| format!("TLS with {endpoint}: it shows no certificate"))?;
        let certificates = connection.peer_certificates().unwrap_or_default();
        let Some((leaf, rest)) = certificates.split_first() else {
            return Err(format!("TLS with {endpoint}: it shows no certificate"));
        };
        made.verifier
            .verify_server_cert(leaf, rest, self.tls.name(), &[], UnixTime::now())
            .map_err(|e| format!("TLS with {endpoint}: {e}"))?;
        let chosen = connection.alpn_protocol().map(String::from_utf8_lossy);
        if !self.alpn.is_empty() && chosen.is_none() {
            let offered = self.alpn.join(", ");
            return Err(format!("TLS with {endpoint}: it speaks none of {offered}"));
        }
        let seconds = shown.earliest_end - Utc::now().timestamp();
        let (days, end) = (seconds.div_euclid(DAY_SECONDS), date(shown.earliest_end));
        if seconds < self.expiry_days_min * DAY_SECONDS {
            let least = self.expiry_days_min;
            return Err(format!(
                "the certificate of {} ends in {days} days, at {end}: expected {least} or more",
                shown.subject
            ));
        }
        Ok(format!("{}, certificate valid for {days} days, until {end}", shown.version()))
    }
}

fn date(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| seconds.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests;
