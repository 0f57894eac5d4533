//! What makes an answer good: judged on status, version, headers and body; patterns are compiled once.

use std::io::Read;

use ::http::{HeaderMap, HeaderName, StatusCode, Version};
use flate2::read::{DeflateDecoder, GzDecoder};
use regex::bytes::Regex;
use watchkeep_catalog::{Compression, HeaderMatch, HttpCheck, StatusRange};

/// How much of a body is read, unless the check says so.
const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Expect {
    status: Vec<StatusRange>,
    versions: Vec<String>,
    body: Vec<Regex>,
    body_not: Vec<Regex>,
    headers: Vec<Header>,
    headers_not: Vec<Header>,
    fail_if_ssl: bool,
    fail_if_not_ssl: bool,
    /// Whether a body longer than `bytes_max` is a failure.
    limited: bool,
    pub(super) bytes_max: usize,
    compression: Option<Compression>,
}

#[derive(Debug)]
struct Header {
    name: HeaderName,
    pattern: Regex,
    allow_missing: bool,
}

/// Why an answer is not good.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) reason: String,
    pub(super) due_to_regex: bool,
}

impl From<String> for Bad {
    fn from(reason: String) -> Self {
        Self { reason, due_to_regex: false }
    }
}

fn by_regex(reason: String) -> Bad {
    Bad { reason, due_to_regex: true }
}

impl Expect {
    pub(super) fn new(check: &HttpCheck) -> Result<Self, String> {
        let regex =
            |field: &str, pattern: &str| Regex::new(pattern).map_err(|e| format!("{field}: {e}"));
        let all = |field: &str, patterns: &[String]| {
            patterns.iter().map(|pattern| regex(field, pattern)).collect::<Result<Vec<_>, _>>()
        };
        let headers = |field: &str, matches: &[HeaderMatch]| {
            let made = matches.iter().map(|m| {
                let name = m.header.parse();
                let name =
                    name.map_err(|_| format!("{field}: {:?} is not a header's name", m.header));
                let pattern = regex(field, &m.regexp)?;
                Ok(Header { name: name?, pattern, allow_missing: m.allow_missing })
            });
            made.collect::<Result<Vec<_>, String>>()
        };
        let mut body = all("http.body_must_match", &check.body_must_match)?;
        if let Some(pattern) = &check.expected_body {
            body.insert(0, regex("http.expected_body", pattern)?);
        }
        let limit = check.body_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(Self {
            status: check.expected_status.clone(),
            versions: check.expected_versions.clone(),
            body,
            body_not: all("http.body_must_not_match", &check.body_must_not_match)?,
            headers: headers("http.headers_must_match", &check.headers_must_match)?,
            headers_not: headers("http.headers_must_not_match", &check.headers_must_not_match)?,
            fail_if_ssl: check.fail_if_ssl,
            fail_if_not_ssl: check.fail_if_not_ssl,
            limited: limit.is_some(),
            bytes_max: limit.unwrap_or(BODY_BYTES_MAX),
            compression: check.compression,
        })
    }

    pub(super) fn judge_head(
        &self,
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
        tls: bool,
    ) -> Result<(), Bad> {
        self.judge_status(status.as_u16())?;
        let name = version_name(version);
        if !self.versions.is_empty() && !self.versions.iter().any(|v| v == name) {
            return Err(format!("{name}, expected {}", self.versions.join(", ")).into());
        }
        if tls && self.fail_if_ssl {
            return Err("it answers over TLS, expected none".to_owned().into());
        }
        if !tls && self.fail_if_not_ssl {
            return Err("it answers without TLS".to_owned().into());
        }
        self.judge_headers(status, headers)
    }

    fn judge_status(&self, status: u16) -> Result<(), Bad> {
        if self.status.is_empty() {
            return if (200..300).contains(&status) {
                Ok(())
            } else {
                Err(format!("status {status}, expected 200-299").into())
            };
        }
        if self.status.iter().any(|range| range.contains(status)) {
            return Ok(());
        }
        let expected: Vec<_> = self.status.iter().map(ToString::to_string).collect();
        Err(format!("status {status}, expected {}", expected.join(", ")).into())
    }

    fn judge_headers(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), Bad> {
        let bad = |header: &Header, what: &str| {
            let (name, pattern) = (&header.name, header.pattern.as_str());
            Err(by_regex(format!(
                "status {}, but header {name} {what} {pattern:?}",
                status.as_u16()
            )))
        };
        let missing = |header: &Header| {
            let (name, status) = (&header.name, status.as_u16());
            Err(by_regex(format!("status {status}, but there is no header {name}")))
        };
        let matches = |header: &Header| {
            let mut values = headers.get_all(&header.name).iter().peekable();
            let is_there = values.peek().is_some();
            is_there.then(|| values.any(|value| header.pattern.is_match(value.as_bytes())))
        };
        for header in &self.headers_not {
            match matches(header) {
                None if !header.allow_missing => return missing(header),
                Some(true) => return bad(header, "matches"),
                None | Some(false) => {}
            }
        }
        for header in &self.headers {
            match matches(header) {
                None if !header.allow_missing => return missing(header),
                Some(false) => return bad(header, "does not match"),
                None | Some(true) => {}
            }
        }
        Ok(())
    }

    /// A body as it was before it was compressed, and whether that is all of it.
    pub(super) fn decompress(&self, body: Vec<u8>, whole: bool) -> Result<(Vec<u8>, bool), String> {
        let mut plain = Vec::new();
        // One byte more tells that there is more.
        let limit = self.bytes_max as u64 + 1;
        let read = match self.compression {
            None | Some(Compression::Identity) => return Ok((body, whole)),
            Some(Compression::Gzip) => GzDecoder::new(&*body).take(limit).read_to_end(&mut plain),
            Some(Compression::Deflate) => {
                DeflateDecoder::new(&*body).take(limit).read_to_end(&mut plain)
            }
        };
        let has_more = plain.len() > self.bytes_max;
        plain.truncate(self.bytes_max);
        match read {
            Err(error) if whole && !has_more => {
                let name = self.compression.map_or("", Compression::name);
                Err(format!("the body is not {name}: {error}"))
            }
            _ => Ok((plain, whole && !has_more)),
        }
    }

    pub(super) fn judge_body(
        &self,
        status: StatusCode,
        body: &[u8],
        whole: bool,
    ) -> Result<(), Bad> {
        let status = status.as_u16();
        if !whole && self.limited {
            let limit = self.bytes_max;
            return Err(format!("status {status}, but the body has more than {limit} bytes").into());
        }
        let bytes = body.len();
        if let Some(pattern) = self.body_not.iter().find(|pattern| pattern.is_match(body)) {
            return Err(by_regex(format!(
                "status {status}, but the body ({bytes} bytes) matches {:?}",
                pattern.as_str()
            )));
        }
        if let Some(pattern) = self.body.iter().find(|pattern| !pattern.is_match(body)) {
            return Err(by_regex(format!(
                "status {status}, but the body ({bytes} bytes) does not match {:?}",
                pattern.as_str()
            )));
        }
        Ok(())
    }
}

/// As Go names it.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
