//! Tokens by keys of every kind, made by openssl as an operator makes them, and each way to tamper with one.

use std::{fs, path::Path, process::Command};

use super::*;

const NOW: u64 = 1_800_000_000;

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Key files of every kind, and the methods that use them.
fn key_files(dir: &Path) -> Vec<(&'static str, String, String)> {
    openssl(dir, "genrsa -out rsa.pem 2048");
    openssl(dir, "rsa -in rsa.pem -traditional -out rsa1.pem");
    openssl(dir, "rsa -in rsa.pem -pubout -out rsa.pub");
    fs::copy(dir.join("rsa.pub"), dir.join("rsa1.pub")).expect("copied");
    for (name, curve) in [("p256", "prime256v1"), ("p384", "secp384r1")] {
        openssl(dir, &format!("ecparam -name {curve} -genkey -out {name}.pem"));
        openssl(dir, &format!("ec -in {name}.pem -pubout -out {name}.pub"));
    }
    openssl(dir, "genpkey -algorithm ed25519 -out ed.pem");
    openssl(dir, "pkey -in ed.pem -pubout -out ed.pub");
    fs::write(dir.join("secret.pem"), "a shared secret").expect("written");
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|m| (m, "rsa"));
    let others = [
        ("RS256", "rsa1"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
        ("HS256", "secret"),
    ];
    let path = |file: String| dir.join(file).display().to_string();
    rsa.into_iter()
        .chain(others)
        .map(|(method, name)| (method, path(format!("{name}.pem")), path(format!("{name}.pub"))))
        .collect()
}

#[test]
fn each_method_signs_and_verifies() {
    let dir = tempfile::tempdir().expect("a folder");
    for (method, private, public) in key_files(dir.path()) {
        let signer = Jwt::new(&format!("sign-method={method},priv-key={private},ttl=10m"));
        let signer = signer.unwrap_or_else(|e| panic!("{method} {private}: {e}"));
        let token = signer.sign("ann", 7, NOW).expect("signed");
        let says = Some(Signed { user: "ann".to_owned(), revision: 7 });
        assert_eq!(signer.verify(&token, NOW + 599), says, "{method}");
        assert_eq!(signer.verify(&token, NOW + 600), None, "{method}: its time is over");
        if method != "HS256" {
            let both = format!("sign-method={method},priv-key={private},pub-key={public}");
            Jwt::new(&both).unwrap_or_else(|e| panic!("{method}: {e}"));
            let verifier = Jwt::new(&format!("sign-method={method},pub-key={public}"));
            let verifier = verifier.unwrap_or_else(|e| panic!("{method} {public}: {e}"));
            assert_eq!(verifier.verify(&token, NOW), says, "{method}");
            assert_eq!(verifier.sign("ann", 7, NOW), None, "a public key cannot sign");
        }
        for (at, byte) in token.bytes().enumerate() {
            // The last letter of a part has bits that mean nothing; strict decoders refuse them.
            let mut other = token.clone().into_bytes();
            other[at] = if byte == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("ASCII");
            assert_eq!(signer.verify(&other, NOW), None, "{method}: byte {at} of {token}");
        }
    }
}

#[test]
fn a_token_cannot_choose_its_method() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = key_files(dir.path());
    let (_, private, public) = &files[0];
    let signer = Jwt::new(&format!("sign-method=RS256,priv-key={private}")).expect("a key");
    let token = signer.sign("ann", 7, NOW).expect("signed");
    let claims = token.split('.').nth(1).expect("three parts");
    let none = format!("{}.{claims}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#));
    assert_eq!(signer.verify(&none, NOW), None);
    // The public key as a shared secret: the classical confusion.
    let confused = Jwt::new(&format!("sign-method=HS256,priv-key={public}")).expect("a secret");
    let token = confused.sign("root", 7, NOW).expect("signed");
    assert_eq!(signer.verify(&token, NOW), None);
    for text in ["", ".", "..", "a.b", "a.b.c", "e30.e30.", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
        assert_eq!(signer.verify(text, NOW), None);
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = key_files(dir.path());
    let path = |file: &str| dir.path().join(file).display().to_string();
    assert!(!files.is_empty());
    for (options, says) in [
        (format!("sign-method=RS256,priv-key={}", path("p256.pem")), "of another kind"),
        (format!("sign-method=ES256,priv-key={}", path("p384.pem")), "not a key that"),
        (format!("sign-method=ES256,pub-key={}", path("p384.pub")), "of another kind"),
        (format!("sign-method=EdDSA,pub-key={}", path("rsa.pub")), "of another kind"),
        (format!("sign-method=RS256,pub-key={}", path("rsa.pem")), "BEGIN PUBLIC KEY"),
        (format!("sign-method=RS256,priv-key={}", path("rsa.pub")), "no private key"),
    ] {
        let error = Jwt::new(&options).expect_err(&options).to_string();
        assert!(error.contains(says), "{options}: {error}");
    }
    openssl(dir.path(), "genrsa -out other.pem 2048");
    let mixed =
        format!("sign-method=RS256,priv-key={},pub-key={}", path("other.pem"), path("rsa.pub"));
    assert!(Jwt::new(&mixed).expect_err("two pairs").to_string().contains("not the public half"));
}
