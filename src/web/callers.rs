//! `client_auth_type`: whether callers may show a certificate, must, and whose.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use watchkeep_catalog::tls::Certificate;

/// Go's `ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nobody is asked.
    NoClientCert,
    /// It may be shown, and any is good.
    RequestClientCert,
    /// It must be shown, and any is good.
    RequireAnyClientCert,
    /// It may be shown, and must come from an authority.
    VerifyClientCertIfGiven,
    /// It must be shown, and come from an authority.
    RequireAndVerifyClientCert,
}

impl Policy {
    /// By its name.
    pub(super) fn read(name: Option<&str>) -> Result<Self, (String, String)> {
        Ok(match name {
            None | Some("NoClientCert") => Self::NoClientCert,
            Some("RequestClientCert") => Self::RequestClientCert,
            // The latter is exporter-toolkit's older name.
            Some("RequireAnyClientCert" | "RequireClientCert") => Self::RequireAnyClientCert,
            Some("VerifyClientCertIfGiven") => Self::VerifyClientCertIfGiven,
            Some("RequireAndVerifyClientCert") => Self::RequireAndVerifyClientCert,
            Some(other) => {
                let message = format!(
                    "{other:?} is no policy: give RequireAndVerifyClientCert, VerifyClientCertIfGiven, RequireAnyClientCert, \
                     RequestClientCert or NoClientCert"
                );
                return Err(("client_auth_type".to_owned(), message));
            }
        })
    }

    fn demands(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }

    fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }
}

/// Who is let in by a certificate.
#[derive(Debug)]
pub(super) struct Callers {
    demand: bool,
    /// Knows the authorities; none: any certificate is good.
    judge: Option<Arc<dyn ClientCertVerifier>>,
    /// Subject alternative names, one of which it must have.
    names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Callers {
    /// None where nobody is asked for one.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn make(
        policy: Policy,
        roots: Option<RootCertStore>,
        names: Option<Vec<String>>,
    ) -> Result<Option<Self>, (&'static str, String)> {
        let refuse = |field, message: &str| Err((field, message.to_owned()));
        if roots.is_some() && policy == Policy::NoClientCert {
            return refuse(
                "client_auth_type",
                "is missing, so nobody is asked for a certificate of client_ca: give RequireAndVerifyClientCert",
            );
        }
        if names.is_some() && !policy.demands() {
            return refuse(
                "client_allowed_sans",
                "needs client_auth_type RequireAndVerifyClientCert (or RequireAnyClientCert): otherwise a caller without a \
                 certificate is let in",
            );
        }
        if policy == Policy::NoClientCert {
            return Ok(None);
        }
        let provider = ring::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        let judge = match (policy.verifies(), roots) {
            (false, _) => None,
            (true, None) => {
                return refuse(
                    "client_ca_file",
                    "is missing: say in it whose certificates are good (or in client_ca)",
                );
            }
            (true, Some(roots)) => {
                let judge = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::new(provider),
                );
                Some(judge.build().map_err(|e| ("client_ca_file", e.to_string()))?)
            }
        };
        Ok(Some(Self { demand: policy.demands(), judge, names, algorithms }))
    }

    /// Whether nobody is let in without one.
    pub(super) fn demand(&self) -> bool {
        self.demand
    }
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        self.demand
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.as_ref().map_or(&[][..], |judge| judge.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(judge) = &self.judge {
            judge.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(names) = &self.names {
            let shown = Certificate::read(end_entity)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
            let mut has = shown.dns_names.iter().chain(&shown.other_names);
            if !has.any(|name| names.contains(name)) {
                let reason = CertificateError::ApplicationVerificationFailure;
                return Err(Error::InvalidCertificate(reason));
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
