//! The way to a mail server whose password may be replaced while all runs: its file is read for each mail, and what is new opens
//! connections of its own.

use std::sync::{Mutex, PoisonError};

use lettre::{
    AsyncSmtpTransport, Tokio1Executor,
    transport::smtp::{AsyncSmtpTransportBuilder, authentication::Credentials},
};

pub(crate) type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Where a user's password is found, or why it is not.
pub(crate) type Password<E> = Box<dyn Fn() -> Result<String, E> + Send + Sync>;

pub(crate) struct Relay<E> {
    builder: AsyncSmtpTransportBuilder,
    login: Option<(String, Password<E>)>,
    /// For the password that was read last.
    kept: Mutex<Option<(Option<String>, Transport)>>,
}

impl<E> Relay<E> {
    /// # Errors
    /// When the password cannot be read now.
    pub(crate) fn new(
        builder: AsyncSmtpTransportBuilder,
        login: Option<(String, Password<E>)>,
    ) -> Result<Self, E> {
        if let Some((_, password)) = &login {
            password()?;
        }
        Ok(Self { builder, login, kept: Mutex::new(None) })
    }

    /// Connections that are there already, unless the password is another one.
    ///
    /// # Errors
    /// When the password cannot be read any more.
    pub(crate) fn transport(&self) -> Result<Transport, E> {
        let password = self.login.as_ref().map(|(_, password)| password()).transpose()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, transport)) = kept.as_ref().filter(|(known, _)| *known == password) {
            return Ok(transport.clone());
        }
        let mut builder = self.builder.clone();
        if let (Some((user, _)), Some(password)) = (&self.login, &password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        let transport: Transport = builder.build();
        *kept = Some((password, transport.clone()));
        Ok(transport)
    }
}
