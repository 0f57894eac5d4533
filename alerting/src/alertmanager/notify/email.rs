//! `email_configs`: a mail with the words of the receiver's templates. The same notification has the same `Message-ID`
//! each time it is sent; all of a group answer the same (unsent) message, so a mail reader shows them as one thread.

use std::{str::FromStr, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor,
    message::{
        Mailboxes, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        client::{Certificate, CertificateStore, Tls, TlsParameters, TlsVersion},
        extension::ClientId,
    },
};

use super::{Failure, Message, http::secret};
use crate::{
    alertmanager::config::{EmailConfig, Global, TlsConfig},
    clock,
    smtp::{Password, Relay},
};

const CONNECTIONS_MAX: u32 = 8;
/// An idle connection is closed after this; servers close them after some minutes.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for one answer of the server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The text part of a mail whose receiver says nothing of its words.
pub(crate) const DEFAULT_TEXT: &str = r#"{{ template "email.default.text" . }}"#;
/// TLS from the first byte is spoken on this port.
const SMTPS: u16 = 465;

/// The way to the mail server of one receiver.
pub(super) struct Mailer {
    relay: Relay<Failure>,
    from: String,
}

impl Mailer {
    /// # Errors
    /// When something that is needed is missing or cannot be read.
    pub(super) fn new(config: &EmailConfig, global: &Global) -> Result<Self, String> {
        let host = config.smarthost.as_ref().or(global.smtp_smarthost.as_ref());
        let (host, port) = host
            .and_then(|host| host.rsplit_once(':'))
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
            .ok_or("smarthost is missing: write it as host:port")?;
        let tls_config = config.tls_config.as_ref().or(global.smtp_tls_config.as_ref());
        let tls = tls_parameters(host, tls_config)?;
        let tls = match (port, config.require_tls.unwrap_or(global.smtp_require_tls)) {
            (SMTPS, _) => Tls::Wrapper(tls),
            (_, true) => Tls::Required(tls),
            (_, false) => Tls::Opportunistic(tls),
        };
        let hello = config.hello.as_ref().unwrap_or(&global.smtp_hello).clone();
        let pool = PoolConfig::new().max_size(CONNECTIONS_MAX).idle_timeout(IDLE);
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(hello))
            .pool_config(pool);
        let user = config.auth_username.as_ref().or(global.smtp_auth_username.as_ref());
        let login = user.filter(|user| !user.is_empty()).map(|user| {
            let own = config.auth_password.is_some() || config.auth_password_file.is_some();
            let (given, file) = match own {
                true => (config.auth_password.clone(), config.auth_password_file.clone()),
                false => {
                    (global.smtp_auth_password.clone(), global.smtp_auth_password_file.clone())
                }
            };
            let password = move || secret(given.as_ref(), file.as_ref());
            (user.clone(), Box::new(password) as Password<Failure>)
        });
        let relay = Relay::new(builder, login).map_err(Failure::text)?;
        let from = config.from.as_ref().or(global.smtp_from.as_ref());
        let from = from.ok_or("from is missing: give from or global.smtp_from")?.clone();
        Ok(Self { relay, from })
    }

    pub(super) async fn send(
        &self,
        config: &EmailConfig,
        message: &Message<'_>,
    ) -> Result<(), Failure> {
        let mail = self.mail(config, message)?;
        match self.relay.transport()?.send(mail).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                Err(Failure::Never(watchkeep_catalog::causes(&error)))
            }
            Err(error) => Err(Failure::Again(watchkeep_catalog::causes(&error))),
        }
    }

    fn mail(&self, config: &EmailConfig, message: &Message<'_>) -> Result<Mail, Failure> {
        let never = |e: &dyn std::fmt::Display| Failure::Never(format!("mail: {e}"));
        let from: lettre::message::Mailbox =
            message.text(&self.from)?.parse().map_err(|e| never(&e))?;
        let to: Mailboxes = message.text(&config.to)?.parse().map_err(|e| never(&e))?;
        let domain = from.email.domain().to_owned();
        let group = message.group_hash();
        let thread = format!("<{}@{domain}>", &group[..32]);
        let mut builder = Mail::builder()
            .from(from)
            .date(clock::now().into())
            .message_id(Some(format!("<{}@{domain}>", message.key())))
            .in_reply_to(thread.clone())
            .references(thread);
        builder = builder.mailbox(lettre::message::header::To::from(to));
        let subject = config.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("subject"));
        let subject = subject.map_or(r#"{{ template "email.default.subject" . }}"#, |(_, s)| s);
        builder = builder.subject(message.text(subject)?.replace(['\r', '\n'], " "));
        for (name, template) in &config.headers {
            // The message's own fields are not said twice.
            if ["subject", "to", "from", "date", "message-id"]
                .contains(&name.to_lowercase().as_str())
            {
                continue;
            }
            let header = HeaderName::new_from_ascii(name.clone());
            let header = header.map_err(|_| never(&format!("{name:?} is not a header's name")))?;
            let value = message.text(template)?.replace(['\r', '\n'], " ");
            builder = builder.raw_header(HeaderValue::new(header, value));
        }
        let html = message.words.html(&config.html, message.payload)?;
        // Whoever has words of their own has said which parts a mail has.
        let is_default = config.text.is_empty() && config.html == EmailConfig::default().html;
        let text = if is_default { DEFAULT_TEXT } else { &config.text };
        let plain = message.text(text)?;
        let built = match (plain.is_empty(), html.is_empty()) {
            (true, _) => builder.singlepart(part(ContentType::TEXT_HTML, html)),
            (false, true) => builder.singlepart(part(ContentType::TEXT_PLAIN, plain)),
            (false, false) => builder.multipart(MultiPart::alternative_plain_html(plain, html)),
        };
        built.map_err(|e| never(&e))
    }
}

fn part(kind: ContentType, text: String) -> SinglePart {
    SinglePart::builder().header(kind).body(text)
}

fn tls_parameters(host: &str, config: Option<&TlsConfig>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(config) = config {
        if let Some(file) = &config.ca_file {
            let pem = std::fs::read(file).map_err(|e| format!("cannot read {file}: {e}"))?;
            let certificate = Certificate::from_pem(&pem);
            let certificate =
                certificate.map_err(|e| format!("{file}: {}", watchkeep_catalog::causes(&e)))?;
            builder =
                builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        if config.min_version.as_deref() == Some("TLS13") {
            builder = builder.set_min_tls_version(TlsVersion::Tlsv13);
        }
        builder = builder.dangerous_accept_invalid_certs(config.insecure_skip_verify);
    }
    builder.build().map_err(|e| watchkeep_catalog::causes(&e))
}

/// Addresses, as a template may have made them.
///
/// # Errors
/// When one is none.
pub(crate) fn check_addresses(text: &str) -> Result<(), String> {
    Mailboxes::from_str(text).map(drop).map_err(|e| format!("{text:?}: {e}"))
}
