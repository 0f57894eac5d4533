//! Users and roles of a running member: the tables as the log has made them, the tokens, and the answer to "may
//! they?". As long as users are not checked, each question costs the load of one flag.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio::{sync::watch, time::Instant};

use super::{
    caller::{Caller, Credentials},
    grants::Grants,
    judge,
    jwt::{Jwt, OptionsError},
    metrics::AuthMetrics,
    password::Passwords,
    tables::Tables,
    tokens::{self, SimpleTokens},
};
use crate::{
    mvcc::{self, Effects, Place, Refusal, View, ViewError},
    schema::{Applied, Auth as AuthCommand, AuthAction, AuthOutcome, Body, Command, Range, Txn},
};

/// How tokens are made.
pub(crate) enum Provider {
    /// Remembered on every member.
    Simple(SimpleTokens),
    /// Signed.
    Jwt(Box<Jwt>),
}

impl Provider {
    /// By etcd's option: `simple`, or `jwt,sign-method=…,…`.
    pub(crate) fn new(option: &str) -> Result<Self, ProviderError> {
        match option.split_once(',').unwrap_or((option, "")) {
            ("simple", "") => Ok(Self::Simple(SimpleTokens::default())),
            ("jwt", options) => Ok(Self::Jwt(Box::new(Jwt::new(options)?))),
            _ => Err(ProviderError::Unknown(option.to_owned())),
        }
    }
}

/// What is wrong with the option.
#[derive(Debug, Error)]
pub(crate) enum ProviderError {
    /// Neither of the two.
    #[error(
        "{0:?} is not known: give simple, or jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m"
    )]
    Unknown(String),
    /// A signed token's.
    #[error(transparent)]
    Jwt(#[from] OptionsError),
}

/// Why somebody may not, or is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// As the state machine says it.
    Refused(Refusal),
    /// The token is none, or its time is over.
    InvalidToken,
    /// A snapshot is replacing this member's state.
    Replaced,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Users are not checked.
const OFF: u8 = 0;
/// Users are checked.
const ON: u8 = 1;
/// A snapshot replaces the state: who may what is not known.
const REPLACED: u8 = 2;

/// Users and roles of a running member.
pub(crate) struct Auth {
    /// [`OFF`], [`ON`] or [`REPLACED`].
    mode: AtomicU8,
    revision: AtomicU64,
    tables: RwLock<Arc<Tables>>,
    /// Tells when the revision changes.
    changes: watch::Sender<u64>,
    provider: Provider,
    passwords: Passwords,
    metrics: AuthMetrics,
}

impl Auth {
    pub(crate) fn new(
        tables: Tables,
        provider: Provider,
        passwords: Passwords,
        metrics: AuthMetrics,
    ) -> Self {
        let auth = Self {
            mode: AtomicU8::new(REPLACED),
            revision: AtomicU64::new(0),
            tables: RwLock::default(),
            changes: watch::Sender::new(0),
            provider,
            passwords,
            metrics,
        };
        auth.publish(Arc::new(tables));
        auth
    }

    /// Whether a request has to be looked at: users are checked, or a snapshot replaces them.
    pub(crate) fn enabled(&self) -> bool {
        self.mode.load(Ordering::Acquire) != OFF
    }

    fn is_replaced(&self) -> bool {
        self.mode.load(Ordering::Acquire) == REPLACED
    }

    /// Users and roles as this member knows them.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often users and roles have changed.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn metrics(&self) -> &AuthMetrics {
        &self.metrics
    }

    /// Makes new tables known, before anything that comes after them in the log can be read.
    fn publish(&self, tables: Arc<Tables>) {
        let (enabled, revision) = (tables.enabled(), tables.revision());
        *self.tables.write().unwrap_or_else(PoisonError::into_inner) = tables;
        self.revision.store(revision, Ordering::Release);
        self.mode.store(if enabled { ON } else { OFF }, Ordering::Release);
        self.metrics.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.metrics.enabled.set(i64::from(enabled));
        self.changes.send_replace(revision);
    }

    /// A snapshot is about to replace the state: until [`Self::reset`] nothing is shown to anybody.
    pub(crate) fn replace(&self) {
        self.mode.store(REPLACED, Ordering::Release);
    }

    /// The state was replaced by a snapshot: nobody is known by what came before it.
    pub(crate) fn reset(&self, view: &impl View) -> Result<(), ViewError> {
        let tables = Tables::load(view)?;
        if let Provider::Simple(tokens) = &self.provider {
            tokens.clear();
        }
        self.publish(Arc::new(tables));
        Ok(())
    }

    /// Waits until this member knows users and roles of `revision`.
    async fn reached(&self, revision: u64) {
        let mut changes = self.changes.subscribe();
        // The sender lives as long as `self`.
        let _ = changes.wait_for(|known| *known >= revision).await;
    }

    /// Applies a command, if its user may. A member's own commands carry no revision and are not asked.
    pub(crate) fn apply<V: View>(
        &self,
        view: &V,
        applied: &mut Applied,
        command: &Command,
        place: Place,
    ) -> Result<Effects, ViewError> {
        if let Some(Body::Auth(change)) = &command.body {
            return Ok(self.change(change, applied, command, place));
        }
        if self.enabled() && command.auth_revision != 0 {
            let tables = self.tables();
            let refused = match self.known(&tables, &command.auth_user, command.auth_revision) {
                Err(refusal) => Some(refusal),
                Ok(grants) => match &command.body {
                    Some(body) => judge::judge(grants, body, view)?.err(),
                    None => None,
                },
            };
            if let Some(refusal) = refused {
                return Ok(answer(applied, place, Err(refusal), tables.revision()));
            }
        }
        mvcc::apply(view, applied, command, place)
    }

    fn change(
        &self,
        change: &AuthCommand,
        applied: &Applied,
        command: &Command,
        place: Place,
    ) -> Effects {
        let mut tables = Tables::clone(&self.tables());
        let result = match &change.action {
            None => Ok(super::tables::Change::default()),
            // Who logs in is not known yet.
            Some(action @ AuthAction::Login(_)) => tables.apply(action),
            Some(action) => admin(&tables, &command.auth_user).and_then(|()| tables.apply(action)),
        };
        let change_made = match result {
            Ok(change_made) => change_made,
            Err(refusal) => return answer(applied, place, Err(refusal), tables.revision()),
        };
        if let Provider::Simple(tokens) = &self.provider {
            if change_made.disabled {
                tokens.clear();
            }
            if let Some(user) = &change_made.invalidated {
                tokens.forget(user);
            }
            if let Some(AuthAction::Login(login)) = &change.action {
                tokens.add(&login.token_hash, &login.user, Instant::now());
            }
        }
        let mut effects = answer(applied, place, Ok(()), tables.revision());
        if !change_made.writes.is_empty() {
            effects.writes = change_made.writes;
            self.publish(Arc::new(tables));
        }
        effects
    }

    /// What a user may do who called at a revision (etcd: `isOpPermitted`).
    fn known<'t>(
        &self,
        tables: &'t Tables,
        user: &str,
        revision: u64,
    ) -> Result<&'t Grants, Refusal> {
        if user.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        if revision < tables.revision() {
            return Err(Refusal::AuthOldRevision);
        }
        tables.grants(user).ok_or(Refusal::PermissionDenied)
    }

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
            let known = tokio::time::timeout(super::TOKEN_WAIT, known).await;
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
                let reached = tokio::time::timeout(super::TOKEN_WAIT, reached).await;
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

    /// Whether a caller has root's role.
    pub(crate) fn check_root(&self, caller: &Caller) -> Result<(), Denied> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced);
        }
        self.counted(admin(&self.tables(), &caller.user).map_err(Denied::from))
    }

    /// Whether a caller is known at all.
    pub(crate) fn check_known(&self, caller: &Caller) -> Result<(), Denied> {
        if !self.enabled() || !caller.user.is_empty() {
            return Ok(());
        }
        self.counted(Err(Refusal::UserEmpty.into()))
    }

    /// Asks `check` of what a caller may do. To be asked after the state was read and before it is shown: what was
    /// read is then never newer than the permission.
    fn check<E: From<Denied>>(
        &self,
        caller: &Caller,
        check: impl FnOnce(&Grants) -> Result<Result<(), Refusal>, E>,
    ) -> Result<(), E> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced.into());
        }
        let tables = self.tables();
        // A simple token or a certificate names a user, whatever has changed meanwhile; a signed token does not.
        let revision = if caller.signed { caller.revision } else { tables.revision() };
        let verdict = match self.known(&tables, &caller.user, revision) {
            Ok(grants) => check(grants)?,
            Err(refusal) => Err(refusal),
        };
        self.counted(verdict.map_err(Denied::from)).map_err(E::from)
    }

    /// Whether a caller may read a range.
    pub(crate) fn check_range(&self, caller: &Caller, range: &Range) -> Result<(), Denied> {
        self.check(caller, |grants| Ok(allowed(judge::judge_range(grants, range))))
    }

    /// Whether a caller may run a transaction that only reads.
    pub(crate) fn check_txn<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        txn: &Txn,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| Ok(judge::judge_txn(grants, txn, view)?))
    }

    /// Whether a caller may renew a lease: who may write each of its keys.
    pub(crate) fn check_lease<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        lease: i64,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| Ok(judge::judge_lease(grants, lease, view)?))
    }

    /// Whether a caller may see the keys of some leases.
    pub(crate) fn check_lease_keys<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        leases: impl IntoIterator<Item = i64>,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| {
            if grants.reads_everything() {
                return Ok(Ok(()));
            }
            for lease in leases {
                let verdict = judge::judge_lease_keys(grants, lease, view)?;
                if verdict.is_err() {
                    return Ok(verdict);
                }
            }
            Ok(Ok(()))
        })
    }

    /// Whether a caller may watch a range.
    pub(crate) fn check_watch(
        &self,
        caller: &Caller,
        key: &[u8],
        end: &[u8],
    ) -> Result<(), Denied> {
        self.check(caller, |grants| Ok(allowed(grants.may_read(key, end))))
    }

    /// Whether the user of a watch may still read its range, whatever has changed since it began.
    pub(crate) fn check_user(&self, user: &str, key: &[u8], end: &[u8]) -> Result<(), Denied> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced);
        }
        let tables = self.tables();
        let grants = self.known(&tables, user, tables.revision());
        self.counted(grants.and_then(|g| allowed(g.may_read(key, end))).map_err(Denied::from))
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

    /// A token for a login, and what the log is told of it. None: this member has no key to sign with.
    pub(crate) fn new_token(&self, user: &str, revision: u64) -> Option<NewToken> {
        match &self.provider {
            Provider::Simple(_) => tokens::new_word().map(NewToken::Simple),
            Provider::Jwt(jwt) => jwt.sign(user, revision, now_seconds()).map(NewToken::Signed),
        }
    }

    /// Shows how many simple tokens are known, and forgets those whose time is over.
    pub(crate) fn refresh_metrics(&self) {
        if let Provider::Simple(tokens) = &self.provider {
            let count = tokens.count(Instant::now());
            self.metrics.tokens.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn counted(&self, verdict: Result<(), Denied>) -> Result<(), Denied> {
        if let Err(denied) = verdict {
            self.metrics.refused(denied);
        }
        verdict
    }
}

/// A token that nobody knows yet.
pub(crate) enum NewToken {
    /// The random word.
    Simple(String),
    /// The whole.
    Signed(String),
}

impl NewToken {
    /// What the log has of it.
    pub(crate) fn hash(&self) -> bytes::Bytes {
        match self {
            Self::Simple(word) => tokens::hash(word),
            Self::Signed(_) => bytes::Bytes::new(),
        }
    }

    /// What the client gets, when its login is at `index` of the log.
    pub(crate) fn token(self, index: u64) -> String {
        match self {
            Self::Simple(word) => format!("{word}.{index}"),
            Self::Signed(token) => token,
        }
    }
}

fn allowed(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::PermissionDenied) }
}

/// Whether a user has root's role, as long as it matters (etcd: `IsAdminPermitted`).
fn admin(tables: &Tables, user: &str) -> Result<(), Refusal> {
    if !tables.enabled() {
        return Ok(());
    }
    if user.is_empty() {
        return Err(Refusal::UserEmpty);
    }
    let grants = tables.grants(user).ok_or(Refusal::UserNotFound)?;
    allowed(grants.is_root)
}

/// The effects of a command that changes no key.
fn answer(applied: &Applied, place: Place, result: Result<(), Refusal>, revision: u64) -> Effects {
    let mut effects = Effects::default();
    effects.outcome.refusal = result.err().map_or(0, |refusal| refusal as u32);
    effects.outcome.revision = applied.revision;
    effects.outcome.term = place.term;
    effects.outcome.auth = Some(AuthOutcome { index: applied.index, revision });
    effects
}

/// The clock that a token's end is told by.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
