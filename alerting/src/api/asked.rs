//! What stands behind the `?` of a request; what is wrong there is told by name, value and remedy.

use axum::{
    Json,
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

/// The query of a request.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

/// 400.
#[derive(Debug)]
pub(crate) struct WrongQuery(String);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = WrongQuery;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WrongQuery> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => {
                let query = parts.uri.query().unwrap_or_default();
                Err(WrongQuery(wrong_query(query, &error.body_text())))
            }
        }
    }
}

impl IntoResponse for WrongQuery {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": self.0 }))).into_response()
    }
}

/// Which parameter of `query` is wrong, with its value, and what would be right; `said` is what axum says of it.
#[must_use]
pub fn wrong_query(query: &str, said: &str) -> String {
    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(said);
    let Some((name, reason)) = said.split_once(": ") else {
        return said.to_owned();
    };
    if reason.starts_with("unknown field") {
        return reason.replacen("unknown field", "there is no parameter", 1).replacen(
            ", expected",
            "; give",
            1,
        );
    }
    let mut given = form_urlencoded::parse(query.as_bytes());
    let Some((_, value)) = given.find(|(given, _)| given == name) else {
        return said.to_owned();
    };
    let remedy = match reason {
        "provided string was not `true` or `false`" => "give true or false",
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "give a whole number"
        }
        "number too large to fit in target type" => "give a smaller number",
        "number too small to fit in target type" => "give a larger number",
        other => other,
    };
    format!("{name} is {value:?}: {remedy}")
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether they can be read is asked")]
    struct Wanted {
        all: Option<bool>,
        limit: Option<usize>,
        before: Option<i64>,
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value() {
        for (query, said) in [
            ("all=maybe", "all is \"maybe\": give true or false"),
            ("limit=a%20few", "limit is \"a few\": give a whole number"),
            ("limit=-1", "limit is \"-1\": give a whole number"),
            ("limit=", "limit is \"\": give a whole number"),
            (
                "before=99999999999999999999",
                "before is \"99999999999999999999\": give a smaller number",
            ),
            ("after=1", "there is no parameter `after`; give one of `all`, `limit`, `before`"),
        ] {
            let uri: Uri = format!("/v1/things?{query}").parse().unwrap();
            let error = Query::<Wanted>::try_from_uri(&uri).expect_err(query);
            assert_eq!(wrong_query(query, &error.body_text()), said);
        }
    }
}
