//! Pages by mail: SMTP without TLS, with STARTTLS, or TLS from the first byte, over pooled connections.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use watchkeep_catalog::{Incident, Page, Time};

use super::{Failure, message};
use crate::{
    AlertingError,
    config::{Secret, SmtpConfig, SmtpTls},
    link::Links,
    text,
};

/// Connections to the mail server.
const CONNECTIONS_MAX: u32 = 8;
/// An idle connection is closed after this; servers close them after some minutes.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for one answer of the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The way to the mail server.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Reads a PEM file of authorities.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_ca(path: &str) -> Result<Certificate, String> {
    let pem = std::fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    Certificate::from_pem(&pem)
        .map_err(|e| format!("{path} is not a PEM certificate: {}", text::chain(&e)))
}

impl Mailer {
    /// Connects on first use.
    pub(crate) fn new(config: &SmtpConfig) -> Result<Self, AlertingError> {
        let wrong = |message: String| AlertingError::Smtp { host: config.host.clone(), message };
        let from = config.from.parse().map_err(|e| wrong(format!("from: {e}")))?;
        let tls = match config.tls {
            SmtpTls::None => Tls::None,
            SmtpTls::Starttls => Tls::Required(tls_parameters(config).map_err(wrong)?),
            SmtpTls::Tls => Tls::Wrapper(tls_parameters(config).map_err(wrong)?),
        };
        let pool = PoolConfig::new().max_size(CONNECTIONS_MAX).idle_timeout(IDLE);
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.as_str())
                .port(config.port)
                .tls(tls)
                .timeout(Some(TIMEOUT))
                .pool_config(pool);
        if let (Some(user), Some(file)) = (&config.username, &config.password_file) {
            let secret = Secret::read(file).map_err(AlertingError::Secret)?;
            let password = secret.text().map_err(AlertingError::Secret)?;
            builder = builder.credentials(Credentials::new(user.clone(), password.to_owned()));
        }
        Ok(Self { transport: builder.build(), from })
    }

    /// The message of a page. The same page has the same `Message-ID` each time it is sent; all of an incident
    /// answer the same (unsent) message, so a mail reader shows them as one thread.
    pub(crate) fn message(
        &self,
        url: &str,
        incident: &Incident,
        page: &Page,
        links: Option<&Links>,
        now: Time,
    ) -> Result<Message, String> {
        let to: Mailbox = page.to.parse().map_err(|e| format!("address {:?}: {e}", page.to))?;
        let domain = self.from.email.domain();
        let thread = format!("<{}@{domain}>", incident.id);
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .date(now.into())
            .message_id(Some(format!("<{}.{}@{domain}>", incident.id, page.id)))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .subject(message::subject(incident, page))
            .multipart(MultiPart::alternative_plain_html(
                message::plain(url, incident, page, links),
                message::html(url, incident, page, links, None),
            ))
            .map_err(|e| format!("message: {e}"))
    }

    /// Any other message; `id` makes its `Message-ID`, the same each time it is sent.
    pub(crate) fn letter(
        &self,
        to: &str,
        id: &str,
        subject: &str,
        (plain, html): (String, String),
        now: Time,
    ) -> Result<Message, String> {
        let mailbox: Mailbox = to.parse().map_err(|e| format!("address {to:?}: {e}"))?;
        Message::builder()
            .from(self.from.clone())
            .to(mailbox)
            .date(now.into())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .subject(subject)
            .multipart(MultiPart::alternative_plain_html(plain, html))
            .map_err(|e| format!("message: {e}"))
    }

    /// Hands it to the server.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Failure> {
        self.transport.send(message).await.map(drop).map_err(|error| Failure {
            text: text::chain(&error),
            is_final: error.is_permanent(),
            // 4xx: the server is there and asks to come again.
            is_dire: !error.is_transient(),
        })
    }
}

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(file) = &config.ca_file {
        builder =
            builder.certificate_store(CertificateStore::None).add_root_certificate(read_ca(file)?);
    }
    builder.build().map_err(|e| text::chain(&e))
}
