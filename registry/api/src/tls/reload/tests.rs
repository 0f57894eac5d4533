//! Files are made by rcgen, replaced, broken and mended.

use std::{fs, path::Path};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;
use crate::tls::Field;

/// A certificate with this name, and its key.
fn write(dir: &Path, name: &str) -> Files {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = date_time_ymd(2033, 5, 18);
    let cert = params.self_signed(&key).unwrap();
    let files = Files {
        cert: Some(dir.join("cert.pem")),
        key: Some(dir.join("key.pem")),
        ca: Some(dir.join("cert.pem")),
    };
    fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    files
}

/// The certificate's name, of files that rustls takes.
fn names(files: Files) -> Result<Reloading<String>, TlsError> {
    Reloading::load(files, |files, material| {
        let identity = material.identity.expect("files name one");
        assert_eq!(identity.not_after_seconds, 1_999_987_200);
        assert_eq!(material.roots.expect("files name one").len(), 1);
        let name = super::super::Certificate::read(&identity.chain[0]).unwrap().common_name;
        rustls::sign::CertifiedKey::from_der(
            identity.chain,
            identity.key,
            &rustls::crypto::ring::default_provider(),
        )
        .map_err(|e| files.refused(e))?;
        Ok(name.unwrap_or_default())
    })
}

#[test]
fn a_new_pair_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let reloading = names(write(dir.path(), "first")).unwrap();
    assert_eq!(*reloading.current(), "first");
    assert!(!reloading.refresh().unwrap(), "nothing has changed");

    let former_key = fs::read(dir.path().join("key.pem")).unwrap();
    write(dir.path(), "second");
    let new_key = fs::read(dir.path().join("key.pem")).unwrap();
    fs::write(dir.path().join("key.pem"), former_key).unwrap();
    let said = reloading.refresh().unwrap_err().to_string();
    assert!(said.contains("cert.pem and ") && said.contains("key.pem: "), "{said}");
    assert!(!reloading.refresh().unwrap(), "it is said once");
    fs::remove_file(dir.path().join("key.pem")).unwrap();
    assert!(reloading.refresh().unwrap_err().to_string().contains("key.pem: No such file"));
    assert!(!reloading.refresh().unwrap(), "it is said once");
    assert_eq!(*reloading.current(), "first", "the former pair stays");

    fs::write(dir.path().join("key.pem"), new_key).unwrap();
    assert!(reloading.refresh().unwrap());
    assert_eq!(*reloading.current(), "second");
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "name");
    let (empty, torn) = (dir.path().join("empty.pem"), dir.path().join("torn.pem"));
    fs::write(&empty, "").unwrap();
    let text = fs::read_to_string(dir.path().join("cert.pem")).unwrap();
    fs::write(&torn, &text[..text.len() / 2]).unwrap();
    let absent = dir.path().join("absent.pem");
    for (files, field, words) in [
        (Files { key: None, ..good.clone() }, Field::Cert, "cert is given without key"),
        (Files { cert: None, ..good.clone() }, Field::Key, "key is given without cert"),
        (Files { cert: Some(absent), ..good.clone() }, Field::Cert, "absent.pem: No such file"),
        (Files { ca: Some(empty.clone()), ..good.clone() }, Field::Ca, "no certificate in it"),
        (Files { cert: Some(torn), ..good.clone() }, Field::Cert, "not PEM: missing section end"),
        (Files { key: Some(empty), ..good }, Field::Key, "no private key in it"),
    ] {
        let error = names(files).unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
