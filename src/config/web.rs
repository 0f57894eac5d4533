//! `listen.http_web_config`: a web configuration file of Prometheus's exporter-toolkit, judged like ours.

use std::path::Path;

use super::{
    foreign,
    problem::{Problem, Problems},
};
use crate::web::{File, Web};

/// Reads and judges the file, and those that it names.
///
/// # Errors
/// That it cannot be read, or everything that is wrong in it.
pub(crate) fn load(path: &Path) -> Result<Web, Problems> {
    let what = "a web configuration file, as --web.config.file of Prometheus takes it";
    let (name, text) = foreign::text(path, what).map_err(Problems)?;
    let web = read(&name, &text, path.parent().unwrap_or(Path::new(""))).map_err(Problems)?;
    Ok(web.said_by(path, text))
}

/// Judges `text`; `file` is its name in messages, and files that it names lie in `dir` unless they say otherwise.
fn read(file: &str, text: &str, dir: &Path) -> Result<Web, Vec<Problem>> {
    // With nothing in it, it demands nothing.
    let is_empty = text.lines().all(|line| matches!(line.trim().chars().next(), None | Some('#')));
    let text = if is_empty { "{}" } else { text };
    let mut made = None;
    foreign::judged(file, text, |said: &mut File| match Web::make(said, dir) {
        Ok(web) => {
            made = Some(web);
            Vec::new()
        }
        Err(wrong) => wrong,
    })?;
    made.ok_or_else(Vec::new)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::web::Demands;

    /// Everything that the file may say.
    const EVERYTHING: &str = include_str!("../../tests/data/web/everything.yml");

    /// A folder with `server.pem` and `server-key.pem`, and what is wrong with `text` in it.
    fn problems(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let cert = params.self_signed(&key).expect("a certificate");
        fs::write(dir.path().join("server.pem"), cert.pem()).expect("written");
        fs::write(dir.path().join("server-key.pem"), key.serialize_pem()).expect("written");
        let wrong = read("w.yml", text, dir.path()).err().unwrap_or_default();
        let dir = format!("{}/", dir.path().display());
        wrong.iter().map(|problem| problem.to_string().replace(&dir, "")).collect()
    }

    fn demands(text: &str) -> Demands {
        read("w.yml", text, Path::new("")).expect("good").demands()
    }

    #[test]
    fn what_says_everything_and_what_says_nothing_is_taken() {
        assert_eq!(problems(EVERYTHING), Vec::<String>::new());
        for nothing in ["", "# nothing\n", "{}", "tls_server_config: {}\nbasic_auth_users:\n"] {
            assert_eq!(demands(nothing), Demands::default(), "{nothing:?}");
        }
    }

    /// What stands in the middle of a section `tls_server_config` that is good otherwise.
    fn tls(more: &str) -> String {
        format!(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n  {more}\n"
        )
    }

    #[test]
    fn mistakes_are_named_by_line_with_what_to_do() {
        for (text, expected) in [
            (
                tls("min_version: TLS10"),
                "w.yml:4: tls_server_config.min_version: TLS10 is not spoken here, since it is broken: give TLS12 or TLS13",
            ),
            (
                tls("max_version: TLS11"),
                "w.yml:4: tls_server_config.max_version: TLS11 is not spoken",
            ),
            (
                tls("min_version: SSL30"),
                "w.yml:4: tls_server_config.min_version: \"SSL30\" is no version",
            ),
            (
                tls("min_version: TLS13\n  max_version: TLS12"),
                "w.yml:4: tls_server_config.min_version: is newer than max_version",
            ),
            (
                tls("cipher_suites:\n  - TLS_AES_128_GCM_SHA256\n  - TLS_RSA_WITH_AES_128_CBC_SHA"),
                "w.yml:6: tls_server_config.cipher_suites[1]: \"TLS_RSA_WITH_AES_128_CBC_SHA\" is not spoken here",
            ),
            (
                tls("max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]"),
                "w.yml:5: tls_server_config.cipher_suites: ",
            ),
            (
                tls("curve_preferences: [X25519, CurveP521]"),
                "w.yml:4: tls_server_config.curve_preferences[1]: \"CurveP521\" is not spoken here",
            ),
            (
                tls("client_auth_type: Always"),
                "w.yml:4: tls_server_config.client_auth_type: \"Always\" is no policy: give Require",
            ),
            (
                tls("client_auth_type: RequireAndVerifyClientCert"),
                "w.yml:1: tls_server_config.client_ca_file: is missing: say in it whose",
            ),
            (
                tls("client_ca_file: server.pem"),
                "w.yml:1: tls_server_config.client_auth_type: is missing, so nobody is asked",
            ),
            (
                tls("client_allowed_sans: [a.example.org]"),
                "w.yml:4: tls_server_config.client_allowed_sans: needs client_auth_type",
            ),
            (
                tls("cert: inline"),
                "w.yml:4: tls_server_config.cert: stands beside cert_file: give one",
            ),
            (
                tls("min_versoin: TLS12"),
                "w.yml:4: tls_server_config: unknown field `min_versoin`; known: ",
            ),
            (
                "tls_server_config: {cert_file: server-key.pem, key_file: server-key.pem}"
                    .to_owned(),
                "w.yml:1: tls_server_config.cert_file: server-key.pem: there is no certificate in it, but a private key",
            ),
            (
                "tls_server_config: {cert_file: server.pem, key_file: absent.pem}".to_owned(),
                "w.yml:1: tls_server_config.key_file: absent.pem: No such file",
            ),
            (
                "tls_server_config:\n  min_version: TLS13\n".to_owned(),
                "w.yml:1: tls_server_config.cert_file: is missing: TLS needs cert_file (or cert)",
            ),
            (
                "http_server_config:\n  headers:\n    X-Frame-Options: maybe\n".to_owned(),
                "w.yml:3: http_server_config.headers.X-Frame-Options: \"maybe\" is not one of its values: give deny or",
            ),
            (
                "http_server_config:\n  headers:\n    Server: mine\n".to_owned(),
                "w.yml:3: http_server_config.headers.Server: this header is not for this file",
            ),
            (
                "basic_auth_users:\n  alice: secret\n".to_owned(),
                "w.yml:2: basic_auth_users.alice: this is no hash of bcrypt's: give what `htpasswd",
            ),
            (
                "rate_limit: {interval: soon, burst: 1}".to_owned(),
                "w.yml:1: rate_limit.interval: \"soon\" is not a duration: write a number and its unit",
            ),
            (
                "rate_limit: {interval: 1s}".to_owned(),
                "w.yml:1: rate_limit.burst: is 0: nobody would",
            ),
            (
                "basic_auth: {}".to_owned(),
                "w.yml:1: unknown field `basic_auth`; known: tls_server_config",
            ),
        ] {
            let found = problems(&text);
            assert!(
                found.iter().any(|line| line.starts_with(expected)),
                "{found:#?}\ninstead of\n{expected}"
            );
        }
    }

    proptest! {
        /// Pieces of a real file in any order.
        #[test]
        fn pieces_of_a_file_do_not_make_it_panic(lines in proptest::collection::vec(0..200_usize, 0..40)) {
            let all: Vec<_> = EVERYTHING.lines().collect();
            let text: Vec<_> = lines.iter().map(|at| all[at % all.len()]).collect();
            let _ = read("w.yml", &text.join("\n"), Path::new(""));
        }
    }
}
