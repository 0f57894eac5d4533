//! JSON: being written.
use axum::Router;
pub(crate) fn router(_grpc: Router) -> Router {
    Router::new()
}
