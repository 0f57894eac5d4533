//! What kinds of checks there are. A new one is a file with its struct, a field of [`Check`], and a line here.

use super::{
    AliasCheck, Check, CheckError, DnsCheck, EtcdCheck, GrpcCheck, HttpCheck, IcmpCheck,
    ScriptCheck, TcpCheck, TlsCheck, TtlCheck, UnixCheck, WebSocketCheck,
};

/// What every kind can say of itself.
pub trait CheckKind {
    /// Port to probe, when it is not the instance's own.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Whether a connection can be kept for the next probe.
    fn reuses(&self) -> bool {
        false
    }

    /// Whether it sends anything to an IP address.
    fn connects(&self) -> bool {
        true
    }

    /// Judges its fields. What only the collector can tell (regular expressions, files) is left to it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    fn validate(&self) -> Result<(), CheckError>;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($check:ident) = $field:ident,)+) => {
        /// The one kind that a check is of.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Kind<'a> {
            $($(#[$doc])* $variant(&'a $check),)+
        }

        impl Kind<'_> {
            /// The names of all kinds.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            /// Its name: the field of the check, and a value of labels.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($field),)+
                }
            }

            /// What it says of itself.
            #[must_use]
            pub fn settings(&self) -> &dyn CheckKind {
                match self {
                    $(Self::$variant(check) => *check,)+
                }
            }
        }

        impl Check {
            /// All kinds that are set. A valid check has exactly one.
            pub(super) fn kinds(&self) -> impl Iterator<Item = Kind<'_>> {
                [$(self.$field.as_deref().map(Kind::$variant)),+].into_iter().flatten()
            }
        }
    };
}

kinds! {
    /// Ask by HTTP.
    Http(HttpCheck) = http,
    /// Connect, and perhaps talk.
    Tcp(TcpCheck) = tcp,
    /// Look at the certificate.
    Tls(TlsCheck) = tls,
    /// Open a WebSocket.
    WebSocket(WebSocketCheck) = websocket,
    /// Connect to a Unix socket.
    Unix(UnixCheck) = unix,
    /// Ask gRPC's health service.
    Grpc(GrpcCheck) = grpc,
    /// Ask a DNS server.
    Dns(DnsCheck) = dns,
    /// Send an echo request.
    Icmp(IcmpCheck) = icmp,
    /// Run a local program.
    Script(ScriptCheck) = script,
    /// Ask an etcd's member.
    Etcd(EtcdCheck) = etcd,
    /// The service reports itself.
    Ttl(TtlCheck) = ttl,
    /// As another check, instance or service is.
    Alias(AliasCheck) = alias,
}
