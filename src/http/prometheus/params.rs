//! Parameters of a request: from the query string and, in a POST, from the form in its body.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{Method, header},
};
use url::form_urlencoded;

use super::{
    answer::Refusal,
    time::{duration, time},
};

/// All parameters, those of the body first: of several with one name, the first counts.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    fn read(query: &str, body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes()));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value; none when it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A time in milliseconds, if given.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.read_as(name, time, "a valid timestamp")
    }

    /// A duration in milliseconds, if given.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.read_as(name, duration, "a valid duration")
    }

    /// A number from 0, if given.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, Refusal> {
        self.read_as(name, |text| text.parse().ok(), "a number from 0")
    }

    fn read_as<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        what: &str,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Refusal::parameter(name, format!("cannot parse {text:?} to {what}"))),
        }
    }

    /// A parameter that has to be there.
    pub(super) fn need<T>(&self, name: &str, value: Option<T>) -> Result<T, Refusal> {
        value.ok_or_else(|| Refusal::parameter(name, "it is missing"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_form =
            kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if *request.method() != Method::POST || !is_form {
            return Ok(Self::read(&query, b""));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Refusal::bad_data(format!("the form: {error}")))?;
        Ok(Self::read(&query, &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_counts_first() {
        let params =
            Params::read("query=a&match[]=x&limit=&time=1", b"query=b+c&match[]=y&step=1m");
        assert_eq!(params.get("query"), Some("b c"));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["y", "x"]);
        assert_eq!((params.get("limit"), params.get("none")), (None, None));
        assert_eq!(params.time("time").ok(), Some(Some(1_000)));
        assert_eq!(params.duration("step").ok(), Some(Some(60_000)));
        let refusal = params.count("step").expect_err("no count");
        let words = "invalid parameter \"step\": cannot parse \"1m\" to a number from 0";
        assert_eq!(refusal.message, words);
    }
}
