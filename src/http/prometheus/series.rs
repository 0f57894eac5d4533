//! `/api/v1/series`, `/api/v1/labels`, `/api/v1/label/{name}/values`: which series and labels there are, in a time as far
//! as is known without reading samples.

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use watchkeep_series::{
    Matcher, SeriesError, SeriesStore,
    promql::{EvalError, Expr},
};

use super::{
    Asked,
    answer::{Answer, Refusal},
    encode,
    params::Params,
};

/// How a label's name with other characters than letters, digits and `_` may be written in a path (Prometheus 3).
const ESCAPED: &str = "U__";

pub(super) fn router(asked: Asked) -> Router {
    Router::new()
        .route("/api/v1/series", get(series).post(series))
        .route("/api/v1/labels", get(labels).post(labels))
        .route("/api/v1/label/{name}/values", get(values))
        .with_state(asked)
}

/// What is meant: any of the selectors, in a time.
struct Meant {
    selectors: Vec<Vec<Matcher>>,
    /// From when until when.
    times: (i64, i64),
    limit: usize,
}

/// Whether nobody waits for the answer any more.
type Stop<'a> = &'a dyn Fn() -> bool;

impl Meant {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let from_ms = params.time("start")?.unwrap_or(i64::MIN);
        let to_ms = params.time("end")?.unwrap_or(i64::MAX);
        if to_ms < from_ms {
            return Err(Refusal::parameter("end", "end timestamp must not be before start time"));
        }
        let limit = params.count("limit")?.unwrap_or(0);
        let selectors = params.all("match[]").map(selector).collect::<Result<_, _>>()?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(Self { selectors, times: (from_ms, to_ms), limit })
    }
}

/// A selector; one that means everything is refused, as Prometheus does.
pub(super) fn selector(text: &str) -> Result<Vec<Matcher>, Refusal> {
    let wrong = |message: String| Refusal::parameter("match[]", message);
    let matchers = Expr::parse_selector(text).map_err(|error| wrong(error.to_string()))?;
    if matchers.iter().all(|matcher| matcher.means("")) {
        return Err(wrong("match[] must contain at least one non-empty matcher".to_owned()));
    }
    Ok(matchers)
}

/// Asks the store for a list on a thread: for one item more than is wanted, so that it is known whether something is cut.
async fn list<T: Send + 'static>(
    asked: &Asked,
    meant: Meant,
    of: impl FnOnce(&SeriesStore, &Meant, usize, Stop<'_>) -> Result<Vec<T>, SeriesError>
    + Send
    + 'static,
    shown: impl Fn(&T) -> String + Send + 'static,
) -> Result<Answer, Refusal> {
    let querier = asked.querier()?;
    let most = querier.config().series_max;
    let listed = querier.run(None, move |store, stop| {
        let found = of(store, &meant, meant.limit.min(most).saturating_add(1), stop)?;
        if found.len() > most {
            let message = format!("more than {most} (query.series_max): select fewer by match[]");
            return Err(EvalError::Execution(message));
        }
        Ok(cut(found.iter().map(shown), meant.limit))
    });
    Ok(listed.await?.0)
}

/// Cut after `limit`, and said so.
fn cut(items: impl ExactSizeIterator<Item = String>, limit: usize) -> Answer {
    let more = items.len() > limit;
    let items: Vec<_> = items.take(limit).collect();
    let warnings = more.then(|| "results truncated due to limit".to_owned());
    Answer::raw(format!("[{}]", items.join(","))).noted(warnings.into_iter().collect(), Vec::new())
}

async fn series(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let meant = Meant::read(&params)?;
    if meant.selectors.is_empty() {
        return Err(Refusal::bad_data("no match[] parameter provided"));
    }
    let of = |store: &SeriesStore, meant: &Meant, most, stop: Stop<'_>| {
        store.series(&meant.selectors, meant.times, most, stop)
    };
    list(&asked, meant, of, encode::labels).await
}

async fn labels(State(asked): State<Asked>, params: Params) -> Result<Answer, Refusal> {
    let of = |store: &SeriesStore, meant: &Meant, most, stop: Stop<'_>| {
        store.label_names(&meant.selectors, meant.times, most, stop)
    };
    list(&asked, Meant::read(&params)?, of, |name| encode::string(name)).await
}

async fn values(
    State(asked): State<Asked>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Answer, Refusal> {
    let name = unescaped(&name);
    if name.is_empty() {
        return Err(Refusal::bad_data(format!("invalid label name: {name:?}")));
    }
    let of = move |store: &SeriesStore, meant: &Meant, most, stop: Stop<'_>| {
        store.label_values(&name, &meant.selectors, meant.times, most, stop)
    };
    list(&asked, Meant::read(&params)?, of, |value| encode::string(value)).await
}

/// `U__http_2e_status` is `http.status`: what is between two `_` is a character's number, `__` is `_`.
fn unescaped(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix(ESCAPED) else { return name.to_owned() };
    let mut plain = String::new();
    while let Some(at) = rest.find('_') {
        plain.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let Some(end) = behind.find('_') else { return name.to_owned() };
        let code = u32::from_str_radix(&behind[..end], 16).ok().and_then(char::from_u32);
        match (&behind[..end], code) {
            ("", _) => plain.push('_'),
            (_, Some(character)) => plain.push(character),
            (_, None) => return name.to_owned(),
        }
        rest = &behind[end + 1..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths() {
        for (path, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__a_2", "U__a_2"),
            ("U__a_zz_", "U__a_zz_"),
        ] {
            assert_eq!(unescaped(path), name);
        }
    }

    #[test]
    fn cut_says_so() {
        let items = ["1", "2"].map(str::to_owned);
        let text = |limit| format!("{:?}", cut(items.clone().into_iter(), limit));
        assert!(text(1).contains(r#"data: "[1]", warnings: ["results truncated"#), "{}", text(1));
        assert!(text(2).contains(r#"data: "[1,2]", warnings: []"#), "{}", text(2));
    }
}
