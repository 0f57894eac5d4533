//! Whether a certificate is a member's. Its authority may have signed others as well, so that alone is not enough: it must
//! be for the address that the caller has, or for the host of a known member. (A member that lags knows not every other
//! yet, so known members alone are not enough either.) As etcd, a name in it may stand for the caller's address.

use std::{io, net::IpAddr, time::Duration};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use watchkeep_api::tls::Certificate;

/// Names of a certificate that are looked up.
const NAMES_MAX: usize = 8;
/// How long looking one up may take.
const LOOKUP: Duration = Duration::from_secs(2);

/// Refuses a certificate that is for somebody else.
///
/// # Errors
/// When it is; the text says for whom it is.
pub(super) async fn check(
    shown: &CertificateDer<'_>,
    certificate: &Certificate,
    remote: IpAddr,
    hosts: &[String],
) -> io::Result<()> {
    let parsed = ParsedCertificate::try_from(shown).map_err(io::Error::other)?;
    let is_for = |name: &ServerName<'_>| verify_server_name(&parsed, name).is_ok();
    let known = hosts.iter().filter_map(|host| ServerName::try_from(host.as_str()).ok());
    if is_for(&ServerName::from(remote)) || known.into_iter().any(|name| is_for(&name)) {
        return Ok(());
    }
    for name in certificate.dns_names.iter().take(NAMES_MAX) {
        let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name.as_str(), 0))).await;
        if let Ok(Ok(mut found)) = found
            && found.any(|address| address.ip() == remote)
        {
            return Ok(());
        }
    }
    let text = format!(
        "the certificate shown (common name {:?}, names {:?}) is neither for the caller's address {remote} nor for a \
         member ({}): members' certificates need the host of their peer address as subject alternative name",
        certificate.common_name.as_deref().unwrap_or_default(),
        certificate.dns_names,
        hosts.join(", ")
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}
