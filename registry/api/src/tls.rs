//! TLS over the wire, as members and clients use it: PEM files, read again when they change, and the client's side of a
//! connection. rustls with ring. What a server demands of its clients is not known here.

mod certificate;
mod client;
mod files;
mod reload;

pub use certificate::{Certificate, CertificateError};
pub use client::{ClientTls, channel, endpoint};
pub use files::{Field, Files, Identity, Material, TlsError};
pub use reload::Reloading;
