//! One request: validated, answered here or routed and forwarded, and its response framed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use app::leased_body::{Forwarded, Relayed};
use app::proxy::Proxy;
use app::request_tracker::RequestTracker;
use app::route_store::RouteStore;
use axum::Router;
use bytes::Bytes;
use domain::balance::Policy;
use futures_util::FutureExt;
use http::header::{CONNECTION, DATE, EXPECT, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use ports::telemetry::RequestStart;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::body::ClientBody;
use super::buffer::BufferBudget;
use super::conn_io::Deadlines;
use super::conn_state::Connection;
use super::error::{Dialect, ErrorResponse, still_starting};
use super::extract_model::{Hinting, SearchLimits, extract_model};
use super::header_set::HeaderSet;
use super::local::{self, NotFound};
use super::request_body::RequestBody;
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::{headers, validate};

/// The limits of the proxy's own HTTP side.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The most bytes of one body that are held, or decoded, to find its model.
    pub max_buffered_body: usize,
    /// The most bytes of all bodies together that are held.
    pub max_buffered_total: usize,
    /// The most connections.
    pub max_connections: usize,
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// The longest time between two pieces of a request's body.
    pub body_idle: Duration,
    /// How long a connection may be idle. Longer than proxies before us keep theirs, so that it is never we who close
    /// a connection on which a request is under way: Traefik keeps them for 90 s.
    pub idle_timeout: Duration,
    /// How long an answer may wait for its reader.
    pub write_stall: Duration,
    /// How long, when the proxy stops, a connection is served that became idle meanwhile: its client may have been
    /// told before the stop that the connection stays, and takes it for its next request.
    pub stop_delay: Duration,
    /// Whether `/status` is there.
    pub status: bool,
    /// What this process calls itself when it asks backends for their models. It gives itself none.
    pub own_user_agent: Option<HeaderValue>,
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_buffered_body: 64 << 20,
            max_buffered_total: 512 << 20,
            max_connections: 16_384,
            head_timeout: Duration::from_secs(10),
            body_idle: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            write_stall: Duration::from_secs(300),
            stop_delay: Duration::ZERO,
            status: true,
            own_user_agent: None,
        }
    }
}

/// What every connection shares.
pub struct Server {
    proxy: Proxy,
    router: Router,
    limits: SearchLimits,
    ids: RequestIds,
    abort: CancellationToken,
    settings: HttpSettings,
}

impl Server {
    /// A server that carries through `proxy`. Everything that it has open ends at `abort`.
    pub fn new(proxy: Proxy, settings: HttpSettings, abort: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            router: local::router(Arc::clone(proxy.routes()), settings.status),
            limits: SearchLimits {
                buffered_body: settings.max_buffered_body,
                buffer_budget: BufferBudget::new(settings.max_buffered_total),
                body_idle: settings.body_idle,
            },
            ids: RequestIds::new(),
            proxy,
            abort,
            settings,
        })
    }

    /// What the proxy knows.
    pub(super) fn routes(&self) -> &Arc<RouteStore> {
        self.proxy.routes()
    }

    /// Ends everything that is open.
    pub(super) fn abort(&self) -> &CancellationToken {
        &self.abort
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        Deadlines { head: self.settings.head_timeout, write_stall: self.settings.write_stall }
    }

    /// Serves one request. Whatever goes wrong in it, this one alone is answered with an error.
    pub(super) async fn serve(
        &self,
        connection: &Arc<Connection>,
        parts: &mut Parts,
        body: RequestBody,
    ) -> Response<ClientBody> {
        let present = HeaderSet::of(&parts.headers);
        let theirs = present.any(HeaderSet::REQUEST_ID).then(|| parts.headers.get(X_REQUEST_ID)).flatten();
        let id = self.ids.id_for(theirs);
        let dialect = Dialect::of(&parts.uri, present);
        let expects = present.any(HeaderSet::STAYS_BEHIND) && parts.headers.contains_key(EXPECT);
        let version = parts.version;
        let mut tracker = self.track(connection, parts, &id);
        // Pinned here, and everything by reference: what is handed down by value is copied at each step.
        let routed = {
            let routed = pin!(self.route(connection, parts, present, &id, body, &mut tracker));
            std::panic::AssertUnwindSafe(routed).catch_unwind().await
        };
        let mut response = match routed.unwrap_or_else(|_| Err(ErrorResponse::internal())) {
            Ok(Routed::Local(response)) => {
                tracker.answered_locally(response.status());
                response
            }
            Ok(Routed::Forwarded { forwarded, switches }) => relay(connection, forwarded.track(tracker), switches),
            Err(error) => {
                tracker.answered_locally(error.status);
                error.into_response(dialect, id.to_str().unwrap_or_default())
            }
        };
        if self.routes().is_stopping() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        if connection.request.is_unread() {
            settle_rest(connection, expects, &mut response).await;
        }
        frame(connection, version, &mut response);
        if response.body().is_own() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(DATE, date());
        }
        response.headers_mut().insert(X_REQUEST_ID, id);
        response.map(|body| body.ending(Arc::clone(connection)))
    }

    fn track(&self, connection: &Connection, parts: &Parts, id: &HeaderValue) -> RequestTracker {
        RequestTracker::begin(
            self.proxy.telemetry(),
            &RequestStart {
                method: &parts.method,
                path: parts.uri.path(),
                headers: &parts.headers,
                request_id: id.to_str().unwrap_or_default(),
                peer: connection.peer,
            },
        )
    }

    /// The way of a request, step by step.
    async fn route(
        &self,
        connection: &Connection,
        parts: &mut Parts,
        present: HeaderSet,
        id: &HeaderValue,
        body: RequestBody,
        tracker: &mut RequestTracker,
    ) -> Result<Routed, ErrorResponse> {
        validate::check(parts, present)?;
        if local::handles(&parts.method, parts.uri.path()) {
            return self.serve_local(parts).await.map(Routed::Local);
        }
        // A proxy that has not learned who serves what by now never will; one that has goes on serving until its last
        // connection has ended.
        if self.routes().is_stopping() && !self.routes().has_settled() {
            return Err(ErrorResponse::shutting_down());
        }
        let hinting = match self.routes().choice() {
            None => Hinting::None,
            Some(Policy::LeastRequests) => Hinting::Body,
            Some(Policy::PrefixAffinity) => Hinting::Prefix,
        };
        let (model, hints, body) = extract_model(parts, present, body, &self.limits, hinting).await?;
        let switches =
            headers::prepare_request(parts.version, &mut parts.headers, present, &connection.client, id).is_some();
        let request = Box::new(with_head(parts, body as _));
        match self.proxy.forward(&model, hints, request, &connection.cancel, tracker).await {
            Ok(forwarded) => Ok(Routed::Forwarded { forwarded, switches }),
            Err(error) => Err(ErrorResponse::proxy(&error, model.as_str())),
        }
    }

    /// Health and models. The router decodes ids; errors take the caller's shape.
    async fn serve_local(&self, parts: &mut Parts) -> Result<Response<ClientBody>, ErrorResponse> {
        let own = self.settings.own_user_agent.as_ref();
        if own.is_some() && parts.headers.get(USER_AGENT) == own {
            let message = "the proxy has asked itself for models: its own address is among its backends";
            return Err(ErrorResponse::new(StatusCode::LOOP_DETECTED, "loop_detected", message));
        }
        let head = parts.method == Method::HEAD;
        let is_plain = validate::path_is_plain(parts.uri.path());
        let request = with_head(parts, axum::body::Body::empty());
        let response = match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.extensions().get::<NotFound>() {
            None => Ok(response.map(|body| match head {
                true => ClientBody::here(Bytes::new()),
                false => ClientBody::routed(body),
            })),
            Some(NotFound::Path) => {
                let status = if self.settings.status { ", what is served and why at /status" } else { "" };
                let message =
                    format!("there is nothing here; the API is under /v1/, health at /healthz and /readyz{status}");
                Err(ErrorResponse::new(StatusCode::NOT_FOUND, "not_found", message))
            }
            Some(NotFound::Model { .. }) if !is_plain => Err(validate::odd_path()),
            Some(NotFound::Model { starting }) => {
                let message = format!(
                    "no model of this id is being served; GET /v1/models lists what there is{}",
                    still_starting(*starting)
                );
                Err(ErrorResponse {
                    param: Some("model"),
                    ..ErrorResponse::new(StatusCode::NOT_FOUND, "model_not_found", message)
                })
            }
        }
    }
}

/// A request that was answered without an error.
enum Routed {
    Local(Response<ClientBody>),
    Forwarded { forwarded: Forwarded, switches: bool },
}

/// Makes a backend's response the client's.
fn relay(connection: &Connection, relayed: Relayed, switches: bool) -> Response<ClientBody> {
    match relayed {
        Relayed::Response(mut response) => {
            headers::prepare_response(response.status(), response.headers_mut());
            response.map(ClientBody::forwarded)
        }
        Relayed::Tunnel(head, tunnel) => {
            let mut response = head.map(|()| ClientBody::here(Bytes::new()));
            headers::prepare_response(StatusCode::SWITCHING_PROTOCOLS, response.headers_mut());
            // Its bytes go both ways when the client has the head.
            if switches {
                connection.put_tunnel(tunnel);
            }
            response
        }
    }
}

/// Decides what becomes of a request's body that was not read to its end when its answer is ready: what is known to be
/// little is read and discarded, and the connection stays. Otherwise the answer says that it ends.
#[cold]
async fn settle_rest(connection: &Connection, expects: bool, response: &mut Response<ClientBody>) {
    let closes = response.headers().contains_key(CONNECTION);
    if !closes && !expects {
        connection.request.discard_present().await;
    }
    // A client that waits to be asked for its body does not send it behind an answer.
    let stays = !closes && (!connection.request.is_unread() || !expects && connection.request.is_rest_small());
    if !stays {
        connection.request.give_up_rest();
        response.headers_mut().entry(CONNECTION).or_insert(CLOSE);
    }
}

/// Frames an answer as the proxy's own, whatever version the backend spoke.
fn frame(connection: &Connection, asked: Version, response: &mut Response<ClientBody>) {
    let mut version = Version::HTTP_11;
    if asked == Version::HTTP_10 {
        let body = response.body();
        let endless = !body.is_end_stream() && body.size_hint().exact().is_none();
        connection.set_closes_response(endless);
        if endless {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        if response.headers().contains_key(CONNECTION) {
            // Or hyper would say beside it that the connection stays.
            version = Version::HTTP_10;
        }
    }
    *response.version_mut() = version;
}

/// The present time as a header says it. A backend's answer carries its own.
#[allow(clippy::disallowed_methods, reason = "the header tells the wall clock; nothing is measured with it")]
pub(super) fn http_date() -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now())
}

fn date() -> HeaderValue {
    HeaderValue::from_str(&http_date()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A request with this head, which is taken out of its place.
fn with_head<T>(parts: &mut Parts, body: T) -> Request<T> {
    let mut request = Request::new(body);
    *request.method_mut() = std::mem::take(&mut parts.method);
    *request.uri_mut() = std::mem::take(&mut parts.uri);
    *request.version_mut() = parts.version;
    *request.headers_mut() = std::mem::take(&mut parts.headers);
    *request.extensions_mut() = std::mem::take(&mut parts.extensions);
    request
}
