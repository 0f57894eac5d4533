//! TLS over the wire, as members and clients use it: PEM files, read again when they change, the client's side of a
//! connection, and what all listeners have in common. rustls with ring. What a server demands of its clients is not known here.

mod certificate;
mod client;
mod files;
mod handshake;
mod refusals;
mod reload;

pub use certificate::{Certificate, CertificateError};
pub use client::{ClientTls, channel, client_config, endpoint};
pub use files::{Field, Files, Identity, Material, Pem, TlsError, authorities};
pub use handshake::{ALPN, Terms, shake_hands};
pub use refusals::Refusals;
pub use reload::Reloading;
