//! Pages by mail: SMTP without TLS, with STARTTLS, or TLS from the first byte, over pooled connections.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use watchkeep_catalog::{Incident, Page, Time};

use super::{ATTEMPT_TIMEOUT, Failure, message, picture::Picture};
use crate::{
    AlertingError,
    config::{Secret, SmtpConfig, SmtpTls},
    link::Links,
    smtp::{Password, Relay},
};

/// Connections to the mail server.
const CONNECTIONS_MAX: u32 = 8;
/// An idle connection is closed after this; servers close them after some minutes.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for one answer of the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The way to the mail server.
pub(crate) struct Mailer {
    relay: Relay<String>,
    from: Mailbox,
    /// Host and port, for errors.
    server: String,
}

/// Reads a PEM file of authorities.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_ca(path: &str) -> Result<Certificate, String> {
    let pem = std::fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    Certificate::from_pem(&pem)
        .map_err(|e| format!("{path} is not a PEM certificate: {}", watchkeep_catalog::causes(&e)))
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
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.as_str())
            .port(config.port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .pool_config(pool);
        let login = config.username.clone().zip(config.password_file.clone());
        let login = login.map(|(user, file)| {
            let password = move || Ok(Secret::read(&file)?.text()?.to_owned());
            (user, Box::new(password) as Password<String>)
        });
        let relay = Relay::new(builder, login).map_err(AlertingError::Secret)?;
        let server = format!("{}:{}", config.host, config.port);
        Ok(Self { relay, from, server })
    }

    /// The message of a page. The same page has the same `Message-ID` each time it is sent; all of an incident
    /// answer the same (unsent) message, so a mail reader shows them as one thread.
    pub(crate) fn message(
        &self,
        url: &str,
        incident: &Incident,
        page: &Page,
        links: Option<&Links>,
        picture: Option<Picture>,
        now: Time,
    ) -> Result<Message, String> {
        let id = format!("{}.{}", incident.id, page.id);
        // What a picture is known by in its mail may stand in an address, and nothing else.
        let cid = format!("picture@{}", self.from.email.domain());
        let shown = picture.as_ref().map(|picture| (cid.as_str(), picture.text.as_str()));
        let html = message::html(url, incident, page, links, shown);
        let plain = message::plain(url, incident, page, links);
        let png = picture.map(|picture| (cid, picture.png));
        let subject = message::subject(incident, page);
        self.build(&id, &incident.id, &page.to, &subject, (plain, html, png), now)
    }

    /// A message with this `Message-ID` in a thread of its own; `png` is a picture that the HTML shows by its content id.
    pub(crate) fn build(
        &self,
        id: &str,
        thread: &str,
        to: &str,
        subject: &str,
        (plain, html, png): (String, String, Option<(String, Vec<u8>)>),
        now: Time,
    ) -> Result<Message, String> {
        let mailbox: Mailbox = to.parse().map_err(|e| format!("address {to:?}: {e}"))?;
        let domain = self.from.email.domain();
        let thread = format!("<{thread}@{domain}>");
        let builder = Message::builder()
            .from(self.from.clone())
            .to(mailbox)
            .date(now.into())
            .message_id(Some(format!("<{id}@{domain}>")))
            .in_reply_to(thread.clone())
            .references(thread)
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .subject(subject);
        let body = match png {
            None => MultiPart::alternative_plain_html(plain, html),
            Some((cid, png)) => {
                let kind = ContentType::parse("image/png").map_err(|e| e.to_string())?;
                let picture = Attachment::new_inline(cid).body(png, kind);
                let shown =
                    MultiPart::related().singlepart(SinglePart::html(html)).singlepart(picture);
                MultiPart::alternative().singlepart(SinglePart::plain(plain)).multipart(shown)
            }
        };
        builder.multipart(body).map_err(|e| format!("message: {e}"))
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

    /// Hands it to the server, which has so long to take it.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Failure> {
        let transport = self.relay.transport().map_err(Failure::dire)?;
        let Ok(sent) = tokio::time::timeout(ATTEMPT_TIMEOUT, transport.send(message)).await else {
            let seconds = ATTEMPT_TIMEOUT.as_secs();
            let server = &self.server;
            return Err(Failure::dire(format!(
                "mail server {server}: no answer within {seconds} s"
            )));
        };
        sent.map(drop).map_err(|error| Failure {
            text: format!(
                "mail server {}: {}",
                self.server,
                words(&watchkeep_catalog::causes(&error))
            ),
            is_final: error.is_permanent(),
            // 4xx: the server is there and asks to come again.
            is_dire: !error.is_transient(),
            wait: None,
        })
    }
}

/// What mail libraries say, and what they mean with what to do about it.
const REMEDIES: [(&str, &str); 6] = [
    (
        "STARTTLS is not supported",
        "it offers no STARTTLS: set alerting.smtp.tls to none, or to tls with the port for it",
    ),
    (
        "CaUsedAsEndEntity",
        "its certificate is that of an authority (CA:TRUE), which no server may show: give it one that the \
         authority in alerting.smtp.ca_file has signed",
    ),
    (
        "UnknownIssuer",
        "its certificate is signed by an authority that is not trusted here: name it in alerting.smtp.ca_file",
    ),
    ("not valid for name", "set alerting.smtp.host to a name that its certificate has"),
    ("certificate expired", "its certificate has expired: renew it"),
    ("(535)", "see alerting.smtp.username and alerting.smtp.password_file"),
];

/// An error of the mail library, once and with its remedy.
fn words(error: &str) -> String {
    let mut said = error;
    for noise in ["Connection error: ", "internal client error: "] {
        while let Some(rest) = said.strip_prefix(noise) {
            said = rest;
        }
    }
    match REMEDIES.iter().find(|(sign, _)| said.contains(sign)) {
        Some((_, remedy)) => format!("{said}; {remedy}"),
        None => said.to_owned(),
    }
}

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(file) = &config.ca_file {
        builder =
            builder.certificate_store(CertificateStore::None).add_root_certificate(read_ca(file)?);
    }
    builder.build().map_err(|e| watchkeep_catalog::causes(&e))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn errors_name_their_remedy() {
        for (error, expected) in [
            (
                "Connection error: Connection error: invalid peer certificate: UnknownIssuer",
                "invalid peer certificate: UnknownIssuer; its certificate is signed by an authority that is not \
                 trusted here: name it in alerting.smtp.ca_file",
            ),
            (
                "internal client error: STARTTLS is not supported on this server",
                "STARTTLS is not supported on this server; it offers no STARTTLS: set alerting.smtp.tls to none, or \
                 to tls with the port for it",
            ),
            (
                "permanent error (535): 5.7.8 Authentication credentials invalid",
                "permanent error (535): 5.7.8 Authentication credentials invalid; see alerting.smtp.username and \
                 alerting.smtp.password_file",
            ),
            (
                "Connection error: Connection refused (os error 111)",
                "Connection refused (os error 111)",
            ),
            (
                "permanent error (550): 5.1.1 no such user",
                "permanent error (550): 5.1.1 no such user",
            ),
        ] {
            assert_eq!(words(error), expected);
        }
    }
}
