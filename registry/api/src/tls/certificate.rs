//! What is read of a certificate beyond what rustls does with it: whose it is, and until when.

use std::net::IpAddr;

use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate that cannot be read.
#[derive(Debug, Error)]
#[error("this is not an X.509 certificate: {0}")]
pub struct CertificateError(String);

/// The parts of a certificate that Watchkeep looks at. Nothing here says that anybody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's Common Name; none when it has none, or one that is not text.
    pub common_name: Option<String>,
    /// Host names among its subject alternative names.
    pub dns_names: Vec<String>,
    /// The addresses of hosts and of mail, and the URIs, among them.
    pub other_names: Vec<String>,
    /// Unix time in seconds before which it is worth nothing yet.
    pub not_before_seconds: i64,
    /// Unix time in seconds after which it is worth nothing.
    pub not_after_seconds: i64,
}

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|e| CertificateError(e.to_string()))?;
        let common_name = certificate.subject().iter_common_name().next();
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
        let dns_name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Ok(Self {
            dns_names: names.iter().filter_map(dns_name).collect(),
            other_names: names.iter().filter_map(other_name).collect(),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            not_before_seconds: certificate.validity().not_before.timestamp(),
            not_after_seconds: certificate.validity().not_after.timestamp(),
        })
    }
}

fn other_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
