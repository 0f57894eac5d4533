//! TLS servers of every sort, and what probes say of their certificates.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::probe::{
    Context, Files, Outcome, Policy, Prober,
    tests::{LONG_MS, Outcomes, read_head, serve, target},
};

/// An authority, with its certificate in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate chain and its key.
pub(crate) struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

/// A day that is `days` from now.
fn day(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).expect("a time") + time::Duration::days(days)
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Watch, Inc.");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, dir }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for `name` that ends in `days`.
    pub(crate) fn issue(&self, name: &str, days: i64) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = day(-400);
        params.not_after = day(days);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// Itself as a server's certificate, for `name`, until `days` from now, as `openssl req -x509` makes one.
    fn itself(name: &str, days: i64) -> (Self, Issued) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = day(-400);
        params.not_after = day(days);
        let key = KeyPair::generate().expect("a key");
        let (der, key_pem) = (key.serialize_der(), key.serialize_pem());
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        let chain = vec![issuer.der().clone()];
        let issued = Issued { chain, key: der, pem: issuer.pem(), key_pem };
        (Self { issuer, dir }, issued)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }
}

/// A TLS server that answers any request; answers with its port.
pub(crate) async fn server(
    issued: &Issued,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
    clients: Option<&Authority>,
) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).expect("a root");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let key = PrivatePkcs8KeyDer::from(issued.key.clone());
    let mut config = builder.with_single_cert(issued.chain.clone(), key.into()).expect("a pair");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

async fn probe(port: u16, check: &str) -> Result<Outcome, String> {
    let context = Context::new(Policy::default(), Files::Any).expect("TLS");
    Ok(Prober::new(&target(port, LONG_MS, check), &context)?.run().await)
}

fn fact(outcome: &Outcome, name: &str) -> f64 {
    outcome.facts.iter().find(|fact| fact.name == name).map_or(f64::NAN, |fact| fact.value)
}

/// What `openssl req -x509` makes is an authority's certificate and a server's at once: blackbox_exporter takes it when it is
/// trusted, and so do we.
#[tokio::test]
async fn a_certificate_that_is_trusted_itself() -> Outcomes {
    let (ours, issued) = Authority::itself("web.example", 90);
    let (old, expired) = Authority::itself("web.example", -3);
    let theirs = Authority::new("theirs");
    let good = server(&issued, BOTH, &[], None).await;
    let expired = server(&expired, BOTH, &[], None).await;
    for (port, ca, name, is_good, words) in [
        (good, &ours, "web.example", true, "certificate valid for"),
        (good, &ours, "other.example", false, "certificate not valid for name"),
        (good, &theirs, "web.example", false, "invalid peer certificate: UnknownIssuer"),
        (expired, &old, "web.example", false, "certificate expired"),
    ] {
        let ca = ca.file().display().to_string();
        let check = format!(r#""tls":{{"tls":{{"ca_file":"{ca}","server_name":"{name}"}}}}"#);
        let outcome = probe(port, &check).await?;
        assert_eq!(outcome.good, is_good, "{name}: {}", outcome.reason);
        assert!(outcome.reason.contains(words), "{name}: {}", outcome.reason);
    }
    Ok(())
}

#[tokio::test]
async fn certificates_good_and_bad() -> Outcomes {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = server(&ours.issue("web.example", 90), BOTH, &[], None).await;
    let short = server(&ours.issue("web.example", 5), BOTH, &[], None).await;
    let expired = server(&ours.issue("web.example", -3), BOTH, &[], None).await;
    let strange = server(&theirs.issue("web.example", 90), BOTH, &[], None).await;
    let ca = ours.file().display().to_string();
    let with = |name: &str, more: &str| {
        format!(r#""tls":{{"tls":{{"ca_file":"{ca}","server_name":"{name}"{more}}}"#)
    };
    let web = with("web.example", "");
    for (port, check, is_good, words) in [
        (good, format!("{web}}}"), true, "TLS 1.3, certificate valid for"),
        (good, format!(r#"{web},"expiry_days_min":80}}"#), true, "TLS 1.3, certificate valid for"),
        (good, format!(r#"{web},"expiry_days_min":91}}"#), false, "expected 91 or more"),
        (
            short,
            format!(r#"{web},"expiry_days_min":14}}"#),
            false,
            "the certificate of CN=web.example ends in ",
        ),
        (short, format!("{web}}}"), true, "certificate valid for"),
        (expired, format!("{web}}}"), false, "invalid peer certificate: certificate expired"),
        (strange, format!("{web}}}"), false, "invalid peer certificate: UnknownIssuer"),
        (
            good,
            format!("{}}}", with("other.example", "")),
            false,
            "certificate not valid for name \"other.example\"",
        ),
        (
            strange,
            format!("{}}}", with("web.example", r#","insecure_skip_verify":true"#)),
            true,
            "certificate valid for",
        ),
        (good, format!("{}}}", with("web.example", r#","max_version":"TLS12""#)), true, "TLS 1.2"),
        (good, format!(r#"{web},"alpn":["h2"]}}"#), false, "it speaks none of h2"),
    ] {
        let outcome = probe(port, &check).await?;
        assert_eq!(outcome.good, is_good, "{check}: {}", outcome.reason);
        assert!(outcome.reason.contains(words), "{check}: {}", outcome.reason);
        // Also a certificate that is not good tells when it ends.
        let end = fact(&outcome, "probe_ssl_earliest_cert_expiry");
        let days = (end - day(0).unix_timestamp() as f64) / 86_400.0;
        assert!((-4.0..=90.0).contains(&days), "{check}: {days}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_told_of_a_certificate() -> Outcomes {
    let ours = Authority::new("ours");
    let port = server(&ours.issue("web.example", 90), &[&TLS12], &[], None).await;
    let ca = ours.file().display().to_string();
    for (http, chain) in [
        (format!(r#""tls":{{"ca_file":"{ca}","server_name":"web.example"}}"#), true),
        (r#""tls":{"insecure_skip_verify":true}"#.to_owned(), false),
    ] {
        let check = format!(r#""http":{{"scheme":"https",{http}}}"#);
        let outcome = probe(port, &check).await?;
        assert!(outcome.good, "{}", outcome.reason);
        let end = fact(&outcome, "probe_ssl_earliest_cert_expiry");
        assert!((end - day(90).unix_timestamp() as f64).abs() < 60.0);
        // Go's zero time, as in blackbox_exporter, where no chain was verified.
        let chain_end = if chain { end } else { -62_135_596_800.0 };
        let said = fact(&outcome, "probe_ssl_last_chain_expiry_timestamp_seconds");
        assert_eq!(said, chain_end, "{http}");
        let info = outcome.facts.iter().find(|f| f.name == "probe_ssl_last_chain_info");
        let labels = &info.expect("a fact").labels;
        let names: Vec<_> = labels.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["fingerprint_sha256", "subject", "issuer", "subjectalternative"]);
        assert_eq!(labels[0].1.len(), 64);
        assert_eq!(labels[1].1, "CN=web.example");
        assert_eq!(labels[2].1, "CN=ours,O=Watch\\, Inc.");
        assert_eq!(labels[3].1, "web.example");
        let version = outcome.facts.iter().find(|f| f.name == "probe_tls_version_info");
        assert_eq!(version.expect("a fact").labels[0].1, "TLS 1.2");
        assert_eq!(fact(&outcome, "probe_http_ssl"), 1.0);
    }
    Ok(())
}

#[tokio::test]
async fn versions_clients_and_protocols() -> Outcomes {
    let ours = Authority::new("ours");
    let issued = ours.issue("web.example", 90);
    let old = server(&issued, &[&TLS12], &[], None).await;
    let one = server(&issued, BOTH, &["http/1.1"], None).await;
    let strict = server(&issued, &[&TLS12], &[], Some(&ours)).await;
    let me = ours.issue("client.example", 90);
    let (cert, key) = (ours.write("cert.pem", &me.pem), ours.write("key.pem", &me.key_pem));
    let ca = ours.file().display().to_string();
    let tls =
        |more: &str| format!(r#""tls":{{"ca_file":"{ca}","server_name":"web.example"{more}}}"#);
    for (port, http, words) in [
        (old, format!(r#""scheme":"https",{}"#, tls(r#","min_version":"TLS13""#)), "TLS with "),
        (old, format!(r#""scheme":"https",{}"#, tls("")), "status 200"),
        (one, format!(r#""scheme":"https","version":"2",{}"#, tls("")), "TLS with "),
        (one, format!(r#""scheme":"https",{}"#, tls("")), "status 200"),
        (strict, format!(r#""scheme":"https",{}"#, tls("")), "TLS with "),
        (
            strict,
            format!(
                r#""scheme":"https",{}"#,
                tls(&format!(r#","cert_file":"{cert}","key_file":"{key}""#))
            ),
            "status 200",
        ),
    ] {
        let outcome = probe(port, &format!(r#""http":{{{http}}}"#)).await?;
        assert!(outcome.reason.starts_with(words), "{http}: {}", outcome.reason);
        assert_eq!(outcome.good, words == "status 200", "{http}");
    }
    for (tls, words) in [
        (r#"{"ca_file":"/none.pem"}"#.to_owned(), "tls.ca_file \"/none.pem\": No such file"),
        (format!(r#"{{"ca_file":"{key}"}}"#), "there is no certificate in it"),
        (format!(r#"{{"cert_file":"{cert}"}}"#), "give tls.key_file too"),
        (format!(r#"{{"cert_file":"{cert}","key_file":"{ca}"}}"#), "tls.key_file"),
        (r#"{"max_version":"TLS11"}"#.to_owned(), "older than TLS12 is not spoken here"),
    ] {
        let check = format!(r#""http":{{"scheme":"https","tls":{tls}}}"#);
        let said = probe(1, &check).await.expect_err(words);
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}

/// Files are read anew when they change: here the authority.
#[tokio::test]
async fn changed_files_are_taken() -> Outcomes {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let port = server(&ours.issue("web.example", 90), BOTH, &[], None).await;
    let path = theirs.write("changing.pem", &theirs.issuer.pem());
    let check = format!(
        r#""http":{{"scheme":"https","tls":{{"ca_file":"{path}","server_name":"web.example"}}}}"#
    );
    let context = Context::new(Policy::default(), Files::Any)?;
    let prober = Prober::new(&target(port, LONG_MS, &check), &context)?;
    assert!(prober.run().await.reason.contains("invalid peer certificate"));
    std::fs::write(&path, ours.issuer.pem())?;
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&path)?.set_modified(later)?;
    assert_eq!(prober.run().await.reason, "status 200");
    std::fs::write(&path, "half a fi")?;
    assert_eq!(prober.run().await.reason, "status 200", "the former authority holds");
    Ok(())
}

/// Not ours on either side: OpenSSL serves, HTTP over TLS 1.2 and 1.3.
#[tokio::test]
async fn openssl_answers() -> Outcomes {
    let ours = Authority::new("ours");
    let ca = ours.file().display().to_string();
    for (days, name, version, words) in [
        (90, "web.example", "-tls1_3", "status 200"),
        (90, "web.example", "-tls1_2", "status 200"),
        (-3, "web.example", "-tls1_3", "invalid peer certificate: certificate expired"),
        (90, "other.example", "-tls1_3", "certificate not valid for name \"web.example\""),
    ] {
        let issued = ours.issue(name, days);
        let (cert, key) =
            (ours.write("s.pem", &issued.pem), ours.write("s-key.pem", &issued.key_pem));
        let port = crate::probe::tests::closed_port().await;
        let mut server = tokio::process::Command::new("openssl")
            .args(["s_server", "-www", "-quiet", version, "-cert", &cert, "-key", &key])
            .args(["-accept", &format!("127.0.0.1:{port}")])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let check = format!(
            r#""http":{{"scheme":"https","tls":{{"ca_file":"{ca}","server_name":"web.example"}}}}"#
        );
        let deadline = tokio::time::Instant::now() + Duration::from_millis(LONG_MS);
        let outcome = loop {
            let outcome = probe(port, &check).await?;
            let is_up = !outcome.reason.contains("connection refused");
            if is_up || tokio::time::Instant::now() > deadline {
                break outcome;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(outcome.reason.contains(words), "{version} {name}: {}", outcome.reason);
        assert_eq!(outcome.good, words == "status 200");
        server.kill().await?;
    }
    Ok(())
}
