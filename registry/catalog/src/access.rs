//! Who asks at another program's HTTP door: user and password, or a token. Names are Prometheus's. Secrets are in files, read
//! for each request, so that they may be replaced while everything runs, and shown nowhere.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// What is wrong: the field, relative to where it stands, and the message.
pub type Wrong = (String, String);

/// User and password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Who asks.
    pub username: String,
    /// Holds the password.
    pub password_file: PathBuf,
}

/// A token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// The scheme, `Bearer` unless told otherwise.
    #[serde(default = "bearer", rename = "type")]
    pub kind: String,
    /// Holds the token.
    pub credentials_file: PathBuf,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// The value of header `Authorization`, if there is to be one.
///
/// # Errors
/// When both forms are given, or a file cannot be read or holds what no header may hold.
pub fn authorization(
    basic: Option<&BasicAuth>,
    token: Option<&Authorization>,
) -> Result<Option<HeaderValue>, Wrong> {
    let (field, text) = match (basic, token) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let message = "basic_auth is given as well: give one of both".to_owned();
            return Err(("authorization".to_owned(), message));
        }
        (Some(basic), None) => {
            let field = "basic_auth.password_file";
            let password = secret(field, &basic.password_file)?;
            let pair = BASE64_STANDARD.encode(format!("{}:{password}", basic.username));
            (field, format!("Basic {pair}"))
        }
        (None, Some(token)) => {
            let field = "authorization.credentials_file";
            (field, format!("{} {}", token.kind, secret(field, &token.credentials_file)?))
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        (field.to_owned(), "the file holds characters that no header may have".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Header `Authorization` as its file says at the moment. While the file is gone or of no use, what it said before holds.
#[derive(Debug, Default)]
pub struct Credentials {
    basic: Option<BasicAuth>,
    token: Option<Authorization>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    value: Option<HeaderValue>,
    /// What was wrong when it was last looked at, so that it is said once.
    complaint: Option<Wrong>,
}

impl Credentials {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`authorization`].
    pub fn new(basic: Option<&BasicAuth>, token: Option<&Authorization>) -> Result<Self, Wrong> {
        let value = authorization(basic, token)?;
        let last = Mutex::new(Last { value, complaint: None });
        Ok(Self { basic: basic.cloned(), token: token.cloned(), last })
    }

    /// The header's value, if there is to be one. Reads one small file.
    pub fn header(&self) -> Option<HeaderValue> {
        let read = authorization(self.basic.as_ref(), self.token.as_ref());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(value) => *last = Last { value, complaint: None },
            Err(wrong) if last.complaint.as_ref() != Some(&wrong) => {
                let (field, reason) = &wrong;
                warn!(field, reason, "a changed secret is of no use, the former holds");
                last.complaint = Some(wrong);
            }
            Err(_) => {}
        }
        last.value.clone()
    }
}

/// A file's text without the line break at its end.
fn secret(field: &str, path: &Path) -> Result<String, Wrong> {
    let text = fs::read_to_string(path)
        .map_err(|e| (field.to_owned(), format!("{}: {e}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_are_not_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("secret");
        fs::write(&file, "open sesame\n").expect("written");
        let basic = BasicAuth { username: "Aladdin".into(), password_file: file.clone() };
        let value = authorization(Some(&basic), None).expect("readable").expect("a header");
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{value:?}"), "Sensitive");
        let token: Authorization =
            serde_json::from_value(serde_json::json!({"credentials_file": file})).expect("fits");
        let value = authorization(None, Some(&token)).expect("readable").expect("a header");
        assert_eq!(value, "Bearer open sesame");
        assert_eq!(authorization(None, None), Ok(None));
        assert!(authorization(Some(&basic), Some(&token)).expect_err("both").1.contains("one of"));
        let absent = BasicAuth { password_file: dir.path().join("absent"), ..basic };
        let (field, message) = authorization(Some(&absent), None).expect_err("absent");
        assert!(field == "basic_auth.password_file" && message.contains("absent: No such file"));
    }

    #[test]
    fn a_replaced_secret_is_taken_and_a_lost_one_missed_by_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        let write = |text: &str| fs::write(&file, text).expect("written");
        write("first\n");
        let token: Authorization =
            serde_json::from_value(serde_json::json!({"credentials_file": file})).expect("fits");
        let credentials = Credentials::new(None, Some(&token)).expect("readable");
        assert_eq!(credentials.header().expect("a header"), "Bearer first");
        // Of the same length, and at once: nothing but the text tells.
        write("other\n");
        assert_eq!(credentials.header().expect("a header"), "Bearer other");
        write("two\nlines");
        assert_eq!(credentials.header().expect("a header"), "Bearer other");
        fs::remove_file(&file).expect("removed");
        assert_eq!(credentials.header().expect("a header"), "Bearer other");
        write("third");
        assert_eq!(credentials.header().expect("a header"), "Bearer third");
        assert_eq!(Credentials::default().header(), None);
        assert!(!format!("{credentials:?}").contains("third"));
    }
}
