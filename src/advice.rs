//! What to do about errors that come in the words of gRPC, TLS and etcd, which name no remedy.

/// Who needs advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Whoever has typed a command.
    Caller,
    /// Whoever runs this node.
    Operator,
}

/// The remedy, if the error is one of those that have one.
pub(crate) fn on(error: &str, whom: Whom) -> Option<String> {
    let said = |words: &str| error.contains(words);
    let remedy = match whom {
        Whom::Operator if said("etcdserver: user name is empty") => {
            "the registry checks users, and this node is none of them: set registry.username, a user with the role \
             watchkeep, and registry.password_file on every node, and start it again"
        }
        Whom::Operator if said("etcdserver: authentication failed") => {
            "registry.username, or the password in registry.password_file, is not what the registry knows"
        }
        Whom::Operator if said("etcdserver: permission denied") => {
            "this node's user (registry.username) needs a role: `watchkeep user grant-role USER watchkeep`"
        }
        Whom::Operator => return None,
        Whom::Caller if said("etcdserver: user name is empty") => {
            "the registry checks users: say who you are with --user NAME:PASSWORD, or --user NAME and --password-file FILE"
        }
        Whom::Caller if said("etcdserver: root user does not exist") => {
            "add it: `watchkeep user add root`, then `watchkeep user grant-role root root`"
        }
        Whom::Caller if said("etcdserver: root user does not have root role") => {
            "give it: `watchkeep user grant-role root root`"
        }
        Whom::Caller if said("invalid peer certificate: UnknownIssuer") => {
            "its authority is not trusted here: give the PEM file of it with --cacert"
        }
        Whom::Caller if said("invalid peer certificate: Expired") => {
            "the server's certificate has ended, or a clock is wrong: renew it there"
        }
        Whom::Caller if said("invalid peer certificate: NotValidForName") => {
            "the server's certificate is not for that host: connect by a name or an address that it has"
        }
        Whom::Caller if said("received fatal alert: UnknownCA") => {
            "the server does not trust the authority of --cert: show a certificate that it trusts"
        }
        Whom::Caller if said("received fatal alert: CertificateRequired") => {
            "the server demands a client's certificate: give --cert and --key"
        }
        // TLS 1.3 tells a client too late that its certificate is missing or not liked.
        Whom::Caller if said("https://") && said("operation was canceled") => {
            "the server ends the connection: does it demand a client's certificate that it trusts (--cert, --key)? Its log \
             says why"
        }
        Whom::Caller if said("InvalidContentType") => {
            "what listens there speaks no TLS: should the URL begin with http://?"
        }
        Whom::Caller if said("frame with invalid size") => {
            "what listens there speaks no gRPC without TLS: should the URL begin with https://?"
        }
        Whom::Caller => return None,
    };
    // `watchkeep migrate` has two sides.
    Some(match error.starts_with("source: ") {
        true => remedy.replace("--", "--from-"),
        false => remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_gets_their_own_remedy() {
        let nobody = "get k at http://h: etcdserver: user name is empty (InvalidArgument)";
        assert!(on(nobody, Whom::Caller).is_some_and(|said| said.contains("--user NAME")));
        assert!(on(nobody, Whom::Operator).is_some_and(|said| said.contains("registry.username")));
        assert_eq!(on("connection refused", Whom::Caller), None);
        assert_eq!(on("connection refused", Whom::Operator), None);
        let untrusted = "source: read: invalid peer certificate: UnknownIssuer (Unavailable)";
        assert!(on(untrusted, Whom::Caller).is_some_and(|said| said.contains("--from-cacert")));
    }
}
