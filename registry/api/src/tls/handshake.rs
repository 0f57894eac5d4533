//! A listener's side of the handshake, whatever it listens for: how long it may take, and in the operator's words why it
//! failed.

use std::{io, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a handshake may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// What may be spoken inside: HTTP/2 first, which gRPC needs.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A listener's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The setting that names the authorities of callers' certificates.
    pub authorities: &'static str,
    /// What is said of a caller without a certificate.
    pub unshown: &'static str,
}

/// Shakes hands with whoever has connected.
///
/// # Errors
/// When it comes to nothing; the text says why, in these terms.
pub async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    stream: S,
    terms: &Terms,
) -> io::Result<TlsStream<S>> {
    let shaken = tokio::time::timeout(TIME_MAX, TlsAcceptor::from(config).accept(stream)).await;
    shaken
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long"))?
        .map_err(|error| explain(error, terms))
}

/// rustls's words, in the operator's terms.
fn explain(error: io::Error, terms: &Terms) -> io::Error {
    let Some(found) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
        return error;
    };
    let text = match found {
        Error::NoCertificatesPresented => terms.unshown.to_owned(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the caller does not speak TLS: an https URL is needed".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let authorities = terms.authorities;
            format!("{found}: the certificate shown comes from no authority in {authorities}")
        }
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => {
            format!("{found}: the certificate shown has ended, or a clock is wrong")
        }
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "the certificate shown has none of the names that are let in".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            format!(
                "{found}: the caller does not trust the authority of this listener's certificate"
            )
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            format!("{found}: the caller says that this listener's certificate has ended")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}
