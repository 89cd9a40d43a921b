//! One request: checked, routed, carried, answered.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::body::AnswerBody;
use super::error::{Dialect, ErrorAnswer};
use super::guarded_io::{Deadlines, Phase};
use super::held_body::HeldTotal;
use super::name_model::{SearchLimits, name_model};
use super::noted::Noted;
use super::request_id::{RequestIds, X_REQUEST_ID};
use super::routes::{self, Absent};
use super::{forward, framing, tunnel};
use crate::app::answer::Carried;
use crate::app::exchange::Exchange;
use crate::app::interrupt::Interrupt;
use crate::app::proxy::Proxy;
use crate::app::shared::Shared;
use crate::ports::telemetry::Arrival;

/// The limits of the proxy's own HTTP side.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The most bytes of one body that are held, or decoded, to find its model.
    pub max_held_body: usize,
    /// The most bytes of all bodies together that are held.
    pub max_held_total: usize,
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
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_held_body: 64 << 20,
            max_held_total: 512 << 20,
            max_connections: 16_384,
            head_timeout: Duration::from_secs(10),
            body_idle: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            write_stall: Duration::from_secs(300),
            stop_delay: Duration::ZERO,
            status: true,
        }
    }
}

/// What every connection shares.
pub struct Server {
    proxy: Proxy,
    router: Router,
    limits: SearchLimits,
    ids: RequestIds,
    tunnels: TaskTracker,
    cut_tunnels: CancellationToken,
    abort: CancellationToken,
    settings: HttpSettings,
}

/// What a request needs to know of its connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// The peer as it is noted for backends: written once, not for each request.
    pub(super) client: HeaderValue,
    pub(super) interrupt: Arc<Interrupt>,
    pub(super) phase: Arc<Phase>,
}

impl Server {
    /// A server that carries through `proxy`. Everything that it has open ends at `abort`.
    pub fn new(proxy: Proxy, settings: HttpSettings, abort: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            router: routes::router(Arc::clone(proxy.shared()), settings.status),
            limits: SearchLimits {
                held_body: settings.max_held_body,
                held_total: HeldTotal::new(settings.max_held_total),
                body_idle: settings.body_idle,
            },
            ids: RequestIds::new(),
            proxy,
            tunnels: TaskTracker::new(),
            cut_tunnels: CancellationToken::new(),
            abort,
            settings,
        })
    }

    /// What the proxy knows.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.proxy.shared()
    }

    /// The tunnels that are open.
    pub(super) fn tunnels(&self) -> &TaskTracker {
        &self.tunnels
    }

    /// Ends every tunnel. Its own token, so that they can be counted before it is given.
    pub(super) fn cut_tunnels(&self) -> &CancellationToken {
        &self.cut_tunnels
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

    /// Answers one request. Whatever goes wrong in it, this one alone is answered with an error.
    pub(super) async fn answer(
        &self,
        connection: &Connection,
        parts: &mut Parts,
        body: Incoming,
    ) -> Response<AnswerBody> {
        let noted = Noted::of(&parts.headers);
        let theirs = noted.any(Noted::REQUEST_ID).then(|| parts.headers.get(X_REQUEST_ID)).flatten();
        let id = self.ids.id_for(theirs);
        let id_text = id.to_str().unwrap_or_default();
        let dialect = Dialect::of(&parts.uri, noted);
        let exchange = Exchange::begin(
            self.proxy.telemetry(),
            &Arrival {
                method: &parts.method,
                path: parts.uri.path(),
                headers: &parts.headers,
                request_id: id_text,
                peer: connection.peer,
            },
        );
        // Pinned here, and the head by reference: what is handed down by value is copied at each step.
        let answered = pin!(self.dispatch(connection, parts, noted, body, exchange));
        let mut response = match std::panic::AssertUnwindSafe(answered).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_response(dialect, id_text),
            Err(_) => ErrorAnswer {
                close: true,
                ..ErrorAnswer::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "the proxy failed at this request; its log says more",
                )
            }
            .into_response(dialect, id_text),
        };
        if self.proxy.shared().is_stopping() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().insert(X_REQUEST_ID, id);
        response.map(|body| body.ending(Arc::clone(&connection.phase)))
    }

    async fn dispatch(
        &self,
        connection: &Connection,
        parts: &mut Parts,
        noted: Noted,
        body: Incoming,
        mut exchange: Exchange,
    ) -> Result<Response<AnswerBody>, ErrorAnswer> {
        let answered = match framing::check(parts, noted) {
            Err(error) => Err((error, exchange)),
            Ok(()) if routes::is_ours(&parts.method, parts.uri.path()) => {
                let answered = self.remembered(parts).await;
                exchange.answered_here(answered.as_ref().map_or_else(|error| error.status, Response::status));
                return answered;
            }
            Ok(()) => self.carry(connection, parts, noted, body, exchange).await,
        };
        answered.map_err(|(error, mut exchange)| {
            exchange.answered_here(error.status);
            error
        })
    }

    /// Health and models. The router decodes ids; errors take the caller's shape.
    async fn remembered(&self, parts: &mut Parts) -> Result<Response<AnswerBody>, ErrorAnswer> {
        let head = parts.method == Method::HEAD;
        let request = with_head(parts, axum::body::Body::empty());
        let response = match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        match response.extensions().get::<Absent>() {
            None => Ok(response.map(|body| match head {
                true => AnswerBody::here(Bytes::new()),
                false => AnswerBody::routed(body),
            })),
            Some(Absent::Path) => {
                let message = "there is nothing here; the API is under /v1/, health at /healthz and /readyz";
                Err(ErrorAnswer::new(StatusCode::NOT_FOUND, "not_found", message))
            }
            Some(Absent::Model(_)) => {
                let message = "no model of this id is being served; GET /v1/models lists what there is";
                Err(ErrorAnswer {
                    param: Some("model"),
                    ..ErrorAnswer::new(StatusCode::NOT_FOUND, "model_not_found", message)
                })
            }
        }
    }

    async fn carry(
        &self,
        connection: &Connection,
        parts: &mut Parts,
        noted: Noted,
        body: Incoming,
        exchange: Exchange,
    ) -> Result<Response<AnswerBody>, (ErrorAnswer, Exchange)> {
        // One that has not learnt who serves what will not any more; one that has goes on serving until its last
        // connection has ended.
        if self.shared().is_stopping() && !self.shared().has_settled() {
            return Err((ErrorAnswer::shutting_down(), exchange));
        }
        let (model, body) = match name_model(parts, noted, body, &self.limits).await {
            Ok(named) => named,
            Err(error) => return Err((error, exchange)),
        };
        let switch = forward::prepare_request(parts.version, &mut parts.headers, noted, &connection.client);
        let client = switch.and_then(|_| parts.extensions.remove::<OnUpgrade>());
        let request = Box::new(with_head(parts, body as _));
        match self.proxy.carry(&model, request, &connection.interrupt, exchange).await {
            Err((refusal, exchange)) => Err((ErrorAnswer::refusal(&refusal, model.as_str()), exchange)),
            Ok(Carried::Response(mut response)) => {
                let status = response.status();
                forward::prepare_answer(status, response.headers_mut());
                Ok(response.map(AnswerBody::carried))
            }
            Ok(Carried::Tunnel(head, upstream)) => {
                let mut response = head.map(|()| AnswerBody::here(Bytes::new()));
                forward::prepare_answer(StatusCode::SWITCHING_PROTOCOLS, response.headers_mut());
                if let Some(client) = client {
                    let interrupt = Arc::clone(&connection.interrupt);
                    let (cut, tunnel) = (self.cut_tunnels.clone(), tunnel::carry(client, upstream, interrupt));
                    self.tunnels.spawn(async move { cut.run_until_cancelled(tunnel).await });
                }
                Ok(response)
            }
        }
    }
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
