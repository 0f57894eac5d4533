//! What HTTP checks that are written alike have in common: headers, expectations, the way there. The instances of a service
//! mostly are, and this takes more room than all else of a check, so it is kept once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, USER_AGENT},
};
use bytes::Bytes;
use watchkeep_catalog::HttpCheck;

use super::{
    AGENT,
    auth::Auth,
    expect::Expect,
    route::{Route, Via},
};
use crate::{
    probe::{Context, files::WatchedFile},
    schedule::hash,
};

/// Places for what is shared; two recipes that fall on one place take turns, and are made more than once meanwhile.
const PLACES: u64 = 1_024;

/// A check made ready but for the instance's address.
#[derive(Debug)]
pub(super) struct Recipe {
    /// What it was made of.
    check: HttpCheck,
    pub(super) reuse: bool,
    pub(super) route: Route,
    pub(super) method: Method,
    /// All but `host`, unless the check sets it.
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) auth: Auth,
    pub(super) redirects_max: u8,
    pub(super) expect: Expect,
}

#[derive(Debug)]
pub(super) enum Body {
    Fixed(Bytes),
    File(WatchedFile),
}

/// The recipes in use.
#[derive(Debug, Default)]
pub(in crate::probe) struct Recipes(Mutex<HashMap<u64, Weak<Recipe>>>);

impl Recipes {
    /// The recipe of a check: that of an equal one, if there is one in use.
    ///
    /// # Errors
    /// In words, when the check can never succeed.
    pub(super) fn get(
        &self,
        check: &HttpCheck,
        reuse: bool,
        context: &Arc<Context>,
    ) -> Result<Arc<Recipe>, String> {
        let text = serde_json::to_string(check).ok().filter(|_| is_plain(check));
        let Some(text) = text else { return Recipe::new(check, reuse, context).map(Arc::new) };
        let place = hash([text.as_str()]) % PLACES;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recipe = known.get(&place).and_then(Weak::upgrade);
        if let Some(recipe) = recipe.filter(|r| r.check == *check && r.reuse == reuse) {
            return Ok(recipe);
        }
        let recipe = Arc::new(Recipe::new(check, reuse, context)?);
        known.insert(place, Arc::downgrade(&recipe));
        Ok(recipe)
    }
}

/// Whether it names no file, secret, socket or proxy: such a check has its own, found anew when it is registered anew.
fn is_plain(check: &HttpCheck) -> bool {
    let who = check.basic_auth.is_some() || check.authorization.is_some();
    let way = check.proxy.is_some() || check.unix_socket.is_some();
    !who && !way && check.oauth2.is_none() && check.body_file.is_none()
}

impl Recipe {
    fn new(check: &HttpCheck, reuse: bool, context: &Arc<Context>) -> Result<Self, String> {
        let method = check.method.parse();
        let method = method.map_err(|e| format!("http.method {:?}: {e}", check.method))?;
        let _: Uri = check.path.parse().map_err(|e| format!("http.path {:?}: {e}", check.path))?;
        let headers = headers(check, reuse)?;
        let unix_socket = check.unix_socket.as_deref();
        let proxy = check.proxy.as_ref();
        let route = Route {
            context: context.clone(),
            tls: check.tls.clone(),
            version: check.version,
            proxy: proxy
                .map(|proxy| Via::new("http.proxy", proxy, context).map(Box::new))
                .transpose()?,
            unix_socket: unix_socket.map(|path| context.policy.socket(path)).transpose()?,
        };
        let body = match (&check.body, &check.body_file) {
            (_, Some(path)) => {
                let field = "http.body_file";
                Body::File(WatchedFile::open(field, context.files.find(field, path)?)?)
            }
            (text, None) => Body::Fixed(Bytes::from(text.clone().unwrap_or_default())),
        };
        Ok(Self {
            auth: Auth::new(check, context)?,
            expect: Expect::new(check)?,
            redirects_max: check.redirects_max,
            check: check.clone(),
            reuse,
            route,
            method,
            headers,
            body,
        })
    }
}

/// A header's value.
pub(super) fn value(name: &str, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value)
        .map_err(|_| format!("http.headers.{name}: {value:?} is not allowed"))
}

fn headers(check: &HttpCheck, reuse: bool) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if let Some(compression) = check.compression {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(compression.name()));
    }
    if !reuse {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, text) in &check.headers {
        let known: HeaderName =
            name.parse().map_err(|_| format!("http.headers: {name:?} is not a header's name"))?;
        headers.insert(known, value(name, text)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Files, Policy};

    #[test]
    fn checks_that_are_written_alike_share_all_but_the_address() {
        let context = Context::new(Policy::default(), Files::Any).expect("a context");
        let recipe = |json: &str, reuse| {
            let check: HttpCheck = serde_json::from_str(json).expect(json);
            context.recipes.get(&check, reuse, &context).expect(json)
        };
        let one = recipe(r#"{"path":"/a"}"#, false);
        assert!(Arc::ptr_eq(&one, &recipe(r#"{"path":"/a","method":"GET"}"#, false)));
        assert!(!Arc::ptr_eq(&one, &recipe(r#"{"path":"/b"}"#, false)));
        let reused = recipe(r#"{"path":"/a"}"#, true);
        assert!(!Arc::ptr_eq(&one, &reused) && reused.reuse && !one.reuse);
        let with_secret = r#"{"basic_auth":{"username":"u"}}"#;
        assert!(!Arc::ptr_eq(&recipe(with_secret, false), &recipe(with_secret, false)));
    }
}
