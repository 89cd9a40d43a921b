//! Asking a backend for its models over TLS: by a request like any other, because the client that asks in plain HTTP would
//! bring a second set of trusted roots along.

use std::time::Duration;

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use ports::upstream::{
    BoxBody, Channel, ListModelsError, ListedModel, RequestSlot, SendError, SendFailure, Target, UpstreamResponse,
};

use super::model_list;
use super::models_client::LIST_MAX_BYTES;

/// Asks for the list of models, once, on a channel of its own.
pub(super) async fn models(
    channel: &dyn Channel,
    target: &Target,
    user_agent: &HeaderValue,
    within: Duration,
) -> Result<Vec<ListedModel>, ListModelsError> {
    let asked = async {
        let slot = RequestSlot::new(Box::new(request(target, user_agent)?));
        match channel.send(&slot).await {
            Ok(UpstreamResponse::Response(response)) => read(response).await,
            Ok(UpstreamResponse::Tunnel(..)) => Err(ListModelsError::Status(StatusCode::SWITCHING_PROTOCOLS.as_u16())),
            Err(error) => Err(fault(error)),
        }
    };
    tokio::time::timeout(within, asked).await.unwrap_or(Err(ListModelsError::TimedOut(within)))
}

fn request(target: &Target, user_agent: &HeaderValue) -> Result<Request<BoxBody>, ListModelsError> {
    let body: BoxBody = Box::pin(Empty::new().map_err(|never| match never {}));
    let host = target.origin.as_ref().map_or_else(|| target.address.to_string(), |origin| origin.authority.to_string());
    Request::get(format!("{}/models", target.base_path.as_str()))
        .header(HOST, host)
        .header(USER_AGENT, user_agent)
        .header(ACCEPT, "*/*")
        .body(body)
        .map_err(|error| ListModelsError::Unreachable(error.to_string()))
}

async fn read(response: Response<BoxBody>) -> Result<Vec<ListedModel>, ListModelsError> {
    match response.status() {
        StatusCode::LOOP_DETECTED => return Err(ListModelsError::LoopDetected),
        status if !status.is_success() => return Err(ListModelsError::Status(status.as_u16())),
        _ => {}
    }
    match Limited::new(response.into_body(), LIST_MAX_BYTES).collect().await {
        Ok(list) => model_list::read(&list.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ListModelsError::TooLarge(LIST_MAX_BYTES)),
        Err(error) => Err(ListModelsError::Broken(error.to_string())),
    }
}

fn fault(error: SendError) -> ListModelsError {
    match error.failure {
        SendFailure::ConnectionRefused => ListModelsError::ConnectionRefused,
        SendFailure::ConnectTimeout(within) => ListModelsError::TimedOut(within),
        SendFailure::Unreachable(why) => ListModelsError::Unreachable(why),
        other => ListModelsError::Broken(other.to_string()),
    }
}
