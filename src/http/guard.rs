//! Before every request: whether it is one too many, and whether who sends it may. Behind it: the headers of every answer.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;
use crate::{
    metrics::WebMetrics,
    web::{Kept, Login, Passwords},
};

/// Where nobody has to say who he is: load balancers and checks ask whether the node lives, and a link from a mail is signed.
const OPEN: [&str; 5] = ["/healthz", "/readyz", "/-/healthy", "/-/ready", "/v1/links/{token}"];
/// Asks a browser for a user and a password (RFC 7617).
const CHALLENGE: &str = "Basic realm=\"watchkeep\", charset=\"UTF-8\"";

/// Keeps to a web configuration.
pub(crate) struct Guard {
    web: Arc<Kept>,
    passwords: Passwords,
    metrics: WebMetrics,
}

impl Guard {
    /// Keeps to this one, as it is at the moment of a request.
    pub(crate) fn new(web: Arc<Kept>, metrics: WebMetrics) -> Arc<Self> {
        Arc::new(Self { web, passwords: Passwords::default(), metrics })
    }
}

/// Lets a request through, or not.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let web = guard.web.current();
    if !web.takes_another(Instant::now()) {
        let said = "more requests come than rate_limit of the web configuration lets through: come back later";
        return Problem::new(StatusCode::TOO_MANY_REQUESTS, said).into_response();
    }
    let is_open = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|matched| OPEN.contains(&matched.as_str()));
    let given = request.headers().get(AUTHORIZATION).cloned();
    let login = match is_open {
        true => None,
        false => web.login(given.as_ref(), &guard.passwords).await,
    };
    let mut answer = match login {
        None | Some(Login::Good) => next.run(request).await,
        Some(refused) => guard.refuse(refused),
    };
    for (name, value) in web.headers() {
        answer.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    answer
}

impl Guard {
    fn refuse(&self, login: Login) -> Response {
        let (reason, said) = match login {
            Login::Busy => {
                let said = "too many passwords are being compared: come back later";
                self.metrics.logins_refused.with_label_values(&["busy"]).inc();
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, said).into_response();
            }
            Login::Missing => ("missing", "a user and a password are needed (HTTP basic)"),
            Login::Good | Login::Wrong => ("wrong", "there is no such user with this password"),
        };
        self.metrics.logins_refused.with_label_values(&[reason]).inc();
        let problem = Problem::new(StatusCode::UNAUTHORIZED, said);
        ([(WWW_AUTHENTICATE, CHALLENGE)], problem).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use axum::{Router, body::Body, http::Method, middleware, routing};
    use tower::ServiceExt;

    use super::*;

    /// The password is "secret".
    const ALICE: &str = "basic_auth_users: {alice: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n\
                         http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: usual}}\n";
    const AS_ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

    /// Some resources behind a guard that keeps to this.
    fn behind(web: &str) -> Router {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("web.yml");
        fs::write(&file, web).expect("written");
        let kept = Arc::new(Kept::load(&file).expect("good"));
        let metrics = WebMetrics::new(&::prometheus::Registry::new()).expect("metrics");
        let own = async || ([("content-security-policy", "own")], "own");
        Router::new()
            .route("/healthz", routing::get(async || "ok"))
            .route("/v1/links/{token}", routing::get(async || "shown").post(async || "pressed"))
            .route("/v1/services", routing::get(own).post(async || "made"))
            .fallback(async || StatusCode::NOT_FOUND)
            .layer(middleware::from_fn_with_state(Guard::new(kept, metrics), guard))
    }

    async fn ask(router: &Router, method: &Method, uri: &str, user: Option<&str>) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(user) = user {
            request = request.header(AUTHORIZATION, user);
        }
        let request = request.body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("an answer")
    }

    #[tokio::test]
    async fn no_path_that_looks_like_an_open_one_is_open() {
        let router = behind(ALICE);
        for (method, uri, status) in [
            (Method::GET, "/healthz", 200),
            (Method::HEAD, "/healthz?x", 200),
            (Method::POST, "/healthz", 405),
            (Method::GET, "/v1/links/a~b", 200),
            (Method::POST, "/v1/links/a%2f..%2f..%2fservices", 200),
            (Method::GET, "/v1/services", 401),
            (Method::POST, "/v1/services", 401),
            (Method::DELETE, "/v1/services", 401),
            (Method::OPTIONS, "/v1/services", 401),
            (Method::GET, "/v1/services?/healthz", 401),
            (Method::GET, "http://healthz/v1/services", 401),
            (Method::GET, "/healthz/", 401),
            (Method::GET, "//healthz", 401),
            (Method::GET, "/%68ealthz", 401),
            (Method::GET, "/Healthz", 401),
            (Method::GET, "/healthz;/v1/services", 401),
            (Method::GET, "/healthz/../v1/services", 401),
            (Method::GET, "/healthz%2f..%2fv1%2fservices", 401),
            (Method::POST, "/v1/links/a/../../services", 401),
            (Method::GET, "/v1/links%2fa", 401),
            (Method::GET, "/nowhere", 401),
        ] {
            let answer = ask(&router, &method, uri, None).await;
            assert_eq!(answer.status().as_u16(), status, "{method} {uri}");
            assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), status == 401);
            assert_eq!(answer.headers()["x-frame-options"], "deny", "{method} {uri}");
        }
        for (uri, user, status) in [
            ("/v1/services", AS_ALICE, 200),
            ("/v1/services", "basic YWxpY2U6c2VjcmV0", 200),
            ("/nowhere", AS_ALICE, 404),
            ("/v1/services", "Bearer YWxpY2U6c2VjcmV0", 401),
            ("/v1/services", "Basic", 401),
            // An open path asks nobody, whoever he says he is.
            ("/healthz", "Basic nonsense", 200),
        ] {
            let answer = ask(&router, &Method::GET, uri, Some(user)).await;
            assert_eq!(answer.status().as_u16(), status, "{uri} {user}");
        }
        let answer = ask(&router, &Method::GET, "/v1/services", Some(AS_ALICE)).await;
        assert_eq!(answer.headers()["content-security-policy"], "own");
        let answer = ask(&router, &Method::GET, "/healthz", None).await;
        assert_eq!(answer.headers()["content-security-policy"], "usual");
    }

    #[tokio::test]
    async fn what_is_beyond_the_rate_is_refused_before_anybody_is_asked() {
        let router = behind(&format!("{ALICE}rate_limit: {{interval: 1h, burst: 3}}\n"));
        for (uri, status) in
            [("/healthz", 200), ("/v1/services", 401), ("/nowhere", 401), ("/v1/services", 429)]
        {
            assert_eq!(ask(&router, &Method::GET, uri, None).await.status().as_u16(), status);
        }
        let refused = ask(&router, &Method::GET, "/healthz", None).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    }
}
