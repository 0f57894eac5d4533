//! Who the client is: a name and a password, for which the registry gives a token that goes with every call. The token
//! is asked for when it is first needed, and again when the registry does not know it any more.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};
use tracing::Span;
use watchkeep_api::{
    etcdserverpb::{AuthenticateRequest, auth_client::AuthClient},
    trace::trace_parent,
};

use super::transport::Transport;

/// How often a call is tried with a new token.
pub(super) const LOGINS_MAX: usize = 3;

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// The password is not shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Of this user.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// Of this user, with the password that a file holds; one line break at its end does not count.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn read(user: impl Into<String>, file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let password = line.strip_suffix('\r').unwrap_or(line);
        if password.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        Ok(Self::new(user, password))
    }
}

/// A connection on which every call says who it is of, and which trace it belongs to.
pub(super) type Link = InterceptedService<Transport, Bearer>;

type Token = MetadataValue<Ascii>;

/// Puts the token on a call, and the context of the span in which it is made.
#[derive(Clone)]
pub(super) struct Bearer(Option<Token>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        let parent = trace_parent(&Span::current()).and_then(|parent| parent.parse().ok());
        if let Some(parent) = parent {
            request.metadata_mut().insert("traceparent", parent);
        }
        Ok(request)
    }
}

/// What is known of the token.
#[derive(Clone, Default)]
enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// The registry does not check users.
    NotNeeded,
    /// It goes with every call.
    Token(Token),
}

impl Known {
    fn bearer(&self) -> Option<Bearer> {
        match self {
            Self::Nothing => None,
            Self::NotNeeded => Some(Bearer(None)),
            Self::Token(token) => Some(Bearer(Some(token.clone()))),
        }
    }
}

/// The user of a client, shared by all its clones.
#[derive(Clone, Default)]
pub(super) struct Login(Option<Arc<User>>);

struct User {
    credentials: Credentials,
    known: RwLock<Known>,
    /// One login at a time.
    asking: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Login").field(&self.0.as_ref().map(|user| &user.credentials)).finish()
    }
}

impl Login {
    pub(super) fn new(credentials: Credentials) -> Self {
        let (known, asking) = (RwLock::default(), tokio::sync::Mutex::default());
        Self(Some(Arc::new(User { credentials, known, asking })))
    }

    /// The connection for a call; logs in first, if need be.
    pub(super) async fn link(&self, channel: Transport) -> Result<Link, Status> {
        let Some(user) = &self.0 else {
            return Ok(InterceptedService::new(channel, Bearer(None)));
        };
        let bearer = match user.bearer() {
            Some(bearer) => bearer,
            None => user.log_in(channel.clone()).await?,
        };
        Ok(InterceptedService::new(channel, bearer))
    }

    /// Whether a call failed for want of a new token. Then the old one is forgotten.
    pub(super) fn is_over(&self, status: &Status) -> bool {
        let Some(user) = &self.0 else { return false };
        let over = is_about_token(status.code(), status.message());
        if over {
            *user.known.write().unwrap_or_else(PoisonError::into_inner) = Known::Nothing;
        }
        over
    }

    /// The same of a watcher's end, which has code and message in one text.
    pub(super) fn ends_watch(&self, reason: &str) -> bool {
        let codes = [Code::Unauthenticated, Code::InvalidArgument];
        codes.into_iter().any(|code| {
            let message = reason.strip_prefix(&format!("rpc error: code = {code:?} desc = "));
            message.is_some_and(|message| self.is_over(&Status::new(code, message)))
        })
    }
}

/// What the registry says of a token that it does not know, that is too old, or that is missing.
fn is_about_token(code: Code, message: &str) -> bool {
    match code {
        Code::Unauthenticated => message == "etcdserver: invalid auth token",
        Code::InvalidArgument => {
            message == "etcdserver: revision of auth store is old"
                || message == "etcdserver: user name is empty"
        }
        _ => false,
    }
}

impl User {
    fn bearer(&self) -> Option<Bearer> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).bearer()
    }

    async fn log_in(&self, channel: Transport) -> Result<Bearer, Status> {
        let _asking = self.asking.lock().await;
        // Another call may have done it meanwhile.
        if let Some(bearer) = self.bearer() {
            return Ok(bearer);
        }
        let Credentials { user: name, password } = self.credentials.clone();
        let request = AuthenticateRequest { name, password };
        let known = match AuthClient::new(channel).authenticate(request).await {
            Ok(answer) => {
                let token = answer.into_inner().token.parse();
                Known::Token(token.map_err(|_| Status::internal("the token is no text"))?)
            }
            Err(status)
                if status.code() == Code::FailedPrecondition
                    && status.message() == "etcdserver: authentication is not enabled" =>
            {
                Known::NotNeeded
            }
            Err(status) => return Err(status),
        };
        let bearer = known.bearer();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        bearer.ok_or_else(|| Status::internal("there is no token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_from_a_file() {
        let path = std::env::temp_dir().join(format!("watchkeep-password-{}", std::process::id()));
        for (text, password) in
            [("a b\n", Some("a b")), ("x\r\n", Some("x")), ("y\n\n", Some("y\n")), ("\n", None)]
        {
            fs::write(&path, text).expect("written");
            let read = Credentials::read("ann", &path).ok();
            assert_eq!(
                read,
                password.map(|password| Credentials::new("ann", password)),
                "{text:?}"
            );
        }
        fs::remove_file(&path).expect("removed");
        assert!(Credentials::read("ann", &path).is_err());
        assert!(!format!("{:?}", Login::new(Credentials::new("ann", "secret"))).contains("secret"));
    }

    #[test]
    fn when_a_new_token_is_needed() {
        let login = Login::new(Credentials::new("ann", "x"));
        assert!(login.is_over(&Status::unauthenticated("etcdserver: invalid auth token")));
        assert!(login.is_over(&Status::invalid_argument("etcdserver: user name is empty")));
        assert!(!login.is_over(&Status::permission_denied("etcdserver: permission denied")));
        assert!(!login.is_over(&Status::invalid_argument("etcdserver: key is not provided")));
        assert!(
            login.ends_watch(
                "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
            )
        );
        assert!(
            !login.ends_watch(
                "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
            )
        );
        assert!(
            !Login::default().is_over(&Status::unauthenticated("etcdserver: invalid auth token"))
        );
    }
}
