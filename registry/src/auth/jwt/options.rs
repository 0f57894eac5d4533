//! etcd's way to configure signed tokens: `sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m`.

use std::{collections::BTreeMap, fs, time::Duration};

use thiserror::Error;

use super::{
    Jwt,
    keys::{self, Key},
};

/// How long a token is good when nothing is said: etcd's.
const TTL: Duration = Duration::from_secs(300);
const KNOWN: [&str; 4] = ["sign-method", "pub-key", "priv-key", "ttl"];

/// What is wrong with the options.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct OptionsError(String);

fn wrong<T>(message: impl Into<String>) -> Result<T, OptionsError> {
    Err(OptionsError(message.into()))
}

/// Reads the options and the key files they name.
pub(super) fn parse(text: &str) -> Result<Jwt, OptionsError> {
    let mut options = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return wrong(format!("{part:?}: write it as name=value"));
        };
        if !KNOWN.contains(&name) {
            return wrong(format!("{name:?} is not known; there are {}", KNOWN.join(", ")));
        }
        if options.insert(name, value).is_some() {
            return wrong(format!("{name} is given twice"));
        }
    }
    let Some(name) = options.get("sign-method") else {
        return wrong("sign-method is missing, such as sign-method=RS256");
    };
    let Some((algorithm, method)) = keys::method(name) else {
        return wrong(format!(
            "sign-method {name:?} is not known; there are HS, RS, PS with 256, 384 or 512, ES256, ES384, EdDSA"
        ));
    };
    let ttl = match options.get("ttl") {
        None => TTL,
        Some(text) => match duration(text) {
            Some(ttl) if ttl >= Duration::from_secs(1) => ttl,
            _ => return wrong(format!("ttl {text:?}: give at least 1s, such as 10m or 1h30m")),
        },
    };
    let file = |option: &str| match options.get(option) {
        None => Ok(None),
        Some(path) => {
            let read = fs::read(path).map_err(|e| OptionsError(format!("{option} {path}: {e}")));
            read.map(Some)
        }
    };
    let (public, private) = (file("pub-key")?, file("priv-key")?);
    let key = Key::read(method, public.as_deref(), private.as_deref());
    Ok(Jwt { algorithm, key: key.map_err(|e| OptionsError(e.to_owned()))?, ttl })
}

/// Go's durations, as etcd's flag takes them: `1h30m`, `300s`, `1.5h`, `250ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("10m", Some(600)), ("1h30m", Some(5_400)), ("1.5h", Some(5_400)), ("300s", Some(300))]
        {
            assert_eq!(duration(text).map(|d| d.as_secs()), seconds, "{text}");
        }
        for text in ["10", "m", "10x", "-1s", "1h 3m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("", "sign-method is missing"),
            ("sign-method", "name=value"),
            ("sign-method=RS256,sign-method=RS256", "given twice"),
            ("sign-methods=RS256", "is not known; there are sign-method"),
            ("sign-method=none", "sign-method \"none\" is not known"),
            ("sign-method=ES512", "sign-method \"ES512\" is not known"),
            ("sign-method=RS256", "pub-key or priv-key"),
            ("sign-method=HS256", "priv-key: needed"),
            ("sign-method=RS256,ttl=0s", "ttl \"0s\""),
            ("sign-method=RS256,priv-key=/there/is/none", "/there/is/none"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
