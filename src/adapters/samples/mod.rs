//! Sample servers with canned responses, for a first try without a GPU.

mod anthropic;
mod openai;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const REQUEST_BODY_MAX: usize = 8 << 20;

/// A sample server, bound but not serving yet.
pub struct Sample {
    listener: TcpListener,
    models: Arc<[String]>,
}

impl Sample {
    /// Binds a server of these models. Port 0 takes any free port.
    pub async fn bind(address: SocketAddr, models: Vec<String>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, models: models.into() })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then finishes the requests in flight.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, router(self.models)).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

fn router(models: Arc<[String]>) -> Router {
    Router::new()
        .route("/health", get(|| async { json_response(StatusCode::OK, &json!({ "status": "ok" })) }))
        .route("/v1/models", get(openai::models))
        .route("/v1/chat/completions", post(openai::chat))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/messages", post(anthropic::messages))
        .route("/v1/messages/count_tokens", post(anthropic::count_tokens))
        .with_state(models)
}

/// A request: its body, and the model in it.
struct ModelRequest {
    body: Value,
    model: String,
}

impl ModelRequest {
    /// Reads a request. The error is the response, made by `error` from its message.
    async fn read(models: &[String], body: Body, error: fn(&str) -> Value) -> Result<Self, Response> {
        let refuse = |status, message: &str| json_response(status, &error(message));
        let bytes = axum::body::to_bytes(body, REQUEST_BODY_MAX)
            .await
            .map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is incomplete or too large"))?;
        let body: Value =
            serde_json::from_slice(&bytes).map_err(|_| refuse(StatusCode::BAD_REQUEST, "the body is not JSON"))?;
        let model = body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
        match models.contains(&model) {
            true => Ok(Self { body, model }),
            false => Err(refuse(StatusCode::NOT_FOUND, "this sample server has no such model")),
        }
    }

    fn is_streaming(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
