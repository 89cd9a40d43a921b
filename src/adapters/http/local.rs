//! What the proxy answers from memory: its own health, and the models that it serves.

use std::sync::Arc;

use app::route_store::RouteStore;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;

use super::{models, status_page};
use crate::adapters::status::to_json;

/// Marks an answer whose place is taken by an error in the caller's own shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// There is nothing at this path.
    Path,
    /// No model of this id is served; so many containers may still turn out to serve it.
    Model {
        /// How many.
        starting: usize,
    },
}

/// Whether the router answers this request, rather than a backend.
pub fn handles(method: &Method, path: &str) -> bool {
    let Some(under) = path.strip_prefix("/v1/") else { return true };
    let models = under == "models" || under.starts_with("models/");
    models && (method == Method::GET || method == Method::HEAD)
}

/// The router, with or without `/status`.
pub fn router(routes: Arc<RouteStore>, with_status: bool) -> Router {
    let router = match with_status {
        true => Router::new().route("/status", get(status).fallback(nothing)),
        false => Router::new(),
    };
    router
        .route("/healthz", get(healthz).fallback(nothing))
        .route("/readyz", get(readyz).fallback(nothing))
        .route("/v1/models", get(list))
        .route("/v1/models/", get(list))
        .route("/v1/models/{*id}", get(one))
        .fallback(any(nothing))
        .with_state(routes)
}

async fn healthz() -> Response {
    answer(StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#))
}

async fn readyz(State(routes): State<Arc<RouteStore>>) -> Response {
    match (routes.is_ready(), routes.is_stopping()) {
        (true, _) => answer(StatusCode::OK, Bytes::from_static(br#"{"status":"ready"}"#)),
        (false, true) => answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"stopping"}"#)),
        (false, false) => answer(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"starting"}"#)),
    }
}

async fn list(State(routes): State<Arc<RouteStore>>) -> Response {
    answer(StatusCode::OK, models::list(&routes.load()))
}

async fn one(State(routes): State<Arc<RouteStore>>, id: Result<Path<String>, PathRejection>) -> Response {
    let published = routes.load();
    // Ids are UTF-8: what is not is the id of no model.
    let one = |id: &str| models::one(&published.table, id);
    // An id may end with a slash; else it is one that the caller put behind it.
    match id.ok().and_then(|Path(id)| one(&id).or_else(|| one(id.strip_suffix('/')?))) {
        Some(object) => answer(StatusCode::OK, object),
        None => absent(NotFound::Model { starting: published.table.starting() }),
    }
}

/// A page for whom asks for HTML, as browsers do; JSON for everybody else.
async fn status(State(routes): State<Arc<RouteStore>>, headers: HeaderMap) -> Response {
    let report = routes.report();
    let html = |value: &HeaderValue| value.as_bytes().windows(9).any(|part| part == b"text/html");
    let mut response = match headers.get_all(ACCEPT).iter().any(html) {
        true => status_page::response(&report),
        false => answer(StatusCode::OK, to_json(report).into()),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn nothing() -> Response {
    absent(NotFound::Path)
}

fn absent(what: NotFound) -> Response {
    let mut response = StatusCode::NOT_FOUND.into_response();
    response.extensions_mut().insert(what);
    response
}

fn answer(status: StatusCode, json: Bytes) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], json).into_response()
}
