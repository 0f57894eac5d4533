//! Who a request comes from: by its token, or by its connection's certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::{sync::watch, time::Instant};

use super::{Auth, Denied, Provider, provider::NewToken};
use crate::auth::{
    TOKEN_WAIT,
    caller::{Caller, Credentials},
    tokens,
};

impl Auth {
    /// Who a request comes from. Waits, for a token of a login that this member has not seen yet, until `applied` is
    /// as far.
    pub(crate) async fn caller(
        &self,
        credentials: Credentials,
        mut applied: watch::Receiver<u64>,
    ) -> Result<Caller, Denied> {
        if self.is_replaced() {
            let mut changes = self.changes.subscribe();
            let known = changes.wait_for(|_| !self.is_replaced());
            let known = tokio::time::timeout(TOKEN_WAIT, known).await;
            if !matches!(known, Ok(Ok(_))) {
                return Err(Denied::Replaced);
            }
        }
        let revision = self.revision();
        if !self.enabled() {
            return Ok(Caller::nobody(revision));
        }
        let Some(token) = &credentials.token else {
            let user = credentials.certificate.clone().unwrap_or_default();
            return Ok(Caller { user, revision, signed: false, credentials });
        };
        let found = match &self.provider {
            Provider::Jwt(jwt) => {
                let signed = jwt.verify(token, now_seconds()).ok_or(Denied::InvalidToken);
                signed.map(|signed| (signed.user.into(), signed.revision))
            }
            Provider::Simple(known) => {
                let token = tokens::parse(token).ok_or(Denied::InvalidToken)?;
                let reached = applied.wait_for(|applied| *applied >= token.index);
                let reached = tokio::time::timeout(TOKEN_WAIT, reached).await;
                let in_time = matches!(reached, Ok(Ok(_)));
                let user = in_time.then(|| known.user(&token, Instant::now())).flatten();
                // After the token: a password that was changed since has made it void.
                user.map(|user| (user, self.revision())).ok_or(Denied::InvalidToken)
            }
        };
        match found {
            Ok((user, revision)) => {
                let signed = matches!(self.provider, Provider::Jwt(_));
                Ok(Caller { user, revision, signed, credentials })
            }
            Err(denied) => {
                self.metrics.refused(denied);
                Err(denied)
            }
        }
    }

    /// Nobody in particular, for requests while users are not checked.
    pub(crate) fn nobody(&self) -> Caller {
        Caller::nobody(self.revision())
    }

    /// A caller anew, after users or roles have changed on the way of a command; none: a signed token, which counts no
    /// more.
    pub(crate) async fn renewed(
        &self,
        caller: &Caller,
        revision: u64,
        applied: watch::Receiver<u64>,
    ) -> Option<Result<Caller, Denied>> {
        if caller.signed {
            return None;
        }
        self.reached(revision).await;
        Some(self.caller(caller.credentials.clone(), applied).await)
    }

    /// Waits until this member knows users and roles of `revision`.
    async fn reached(&self, revision: u64) {
        let mut changes = self.changes.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|known| *known >= revision).await;
    }

    /// A token for a login, and what the log is told of it. None: this member has no key to sign with.
    pub(crate) fn new_token(&self, user: &str, revision: u64) -> Option<NewToken> {
        match &self.provider {
            Provider::Simple(_) => tokens::new_word().map(NewToken::Simple),
            Provider::Jwt(jwt) => jwt.sign(user, revision, now_seconds()).map(NewToken::Signed),
        }
    }
}

/// The clock that a token's end is told by.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
