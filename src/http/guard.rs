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
