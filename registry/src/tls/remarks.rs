//! What is noticed about certificates and keys that can be read: they have ended, end soon, are for another host, or everybody
//! can read them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
};
use watchkeep_api::tls::Certificate;

use crate::config::{Invalid, RegistryConfig, host_and_port};

const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;
/// A certificate that ends within so long is to be renewed.
const SOON_SECONDS: i64 = 14 * DAY_SECONDS;

/// What is noticed about both listeners' certificates. One that cannot be read is not spoken of: that is an error, and
/// said elsewhere.
pub(crate) fn of_certificates(config: &RegistryConfig, now_seconds: i64) -> Vec<Invalid> {
    let clients = config.tls.as_ref().and_then(|tls| tls.cert.as_deref());
    let peers = config.peer_tls.as_ref().and_then(|tls| tls.cert.as_deref());
    let mut remarks = Vec::new();
    for (path, file) in [("tls.cert", clients), ("peer_tls.cert", peers)] {
        let Some((file, (der, certificate))) = file.and_then(|file| Some((file, read(file)?)))
        else {
            continue;
        };
        let mut remark = |what: String| {
            let message = format!("{}: {what}", file.display());
            remarks.push(Invalid { path: path.to_owned(), message });
        };
        if let Some(when) = when(&certificate, now_seconds) {
            remark(when);
        }
        let host = config.initial_cluster.get(&config.node_id).and_then(|a| host_and_port(a));
        if let Some((host, _)) = host.filter(|_| path == "peer_tls.cert")
            && !is_for(&der, host)
        {
            remark(format!(
                "it does not name {host}, this member's host in initial_cluster: the other members will refuse it; request \
                 one with that host as subject alternative name"
            ));
        }
    }
    let keys = [
        ("tls.key", config.tls.as_ref().and_then(|tls| tls.key.as_deref())),
        ("peer_tls.key", config.peer_tls.as_ref().and_then(|tls| tls.key.as_deref())),
    ];
    for (path, key) in keys {
        if let Some(message) = key.and_then(open_to_all) {
            remarks.push(Invalid { path: path.to_owned(), message });
        }
    }
    remarks
}

/// What to say of a secret that every user of this machine can read.
#[must_use]
pub fn open_to_all(file: &Path) -> Option<String> {
    let mode = fs::metadata(file).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!("{0}: everybody on this machine can read it: `chmod o= {0}`", file.display())
    })
}

fn read(file: &Path) -> Option<(CertificateDer<'static>, Certificate)> {
    let der = CertificateDer::from_pem_slice(&fs::read(file).ok()?).ok()?;
    let certificate = Certificate::read(&der).ok()?;
    Some((der, certificate))
}

fn is_for(der: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else { return false };
    ParsedCertificate::try_from(der).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
}

/// What its time says, if there is something to say.
fn when(certificate: &Certificate, now_seconds: i64) -> Option<String> {
    let left = certificate.not_after_seconds - now_seconds;
    let until = certificate.not_before_seconds - now_seconds;
    if left <= 0 {
        return Some(format!(
            "it has ended {} ago, and nobody will trust it: renew it",
            span(-left)
        ));
    }
    if until > 0 {
        return Some(format!(
            "it begins in {}, and nobody will trust it before: look at this machine's clock, or give another",
            span(until)
        ));
    }
    (left < SOON_SECONDS).then(|| format!("it ends in {}: renew it", span(left)))
}

fn span(seconds: i64) -> String {
    match (seconds / DAY_SECONDS, seconds / HOUR_SECONDS) {
        (0, hours) => format!("{hours} h"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_certificate_is_told_when_it_matters() {
        let now = 1_000 * DAY_SECONDS;
        let said = |from: i64, to: i64| {
            let certificate = Certificate {
                common_name: None,
                dns_names: Vec::new(),
                other_names: Vec::new(),
                not_before_seconds: now + from,
                not_after_seconds: now + to,
            };
            when(&certificate, now).unwrap_or_default()
        };
        assert_eq!(said(-DAY_SECONDS, 15 * DAY_SECONDS), "");
        assert_eq!(said(-DAY_SECONDS, 13 * DAY_SECONDS), "it ends in 13 days: renew it");
        assert!(said(-DAY_SECONDS, -7_200).starts_with("it has ended 2 h ago"));
        assert!(said(-9 * DAY_SECONDS, -DAY_SECONDS).starts_with("it has ended 1 day ago"));
        assert!(said(7_200, 90 * DAY_SECONDS).starts_with("it begins in 2 h"));
    }
}
