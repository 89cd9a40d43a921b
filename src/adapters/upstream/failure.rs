//! What hyper's errors mean in the words of the port.

use std::error::Error;
use std::io;

use ports::upstream::{BodyError, SendFailure};

/// Why a request got no answer.
pub(super) fn send_failure(error: &hyper::Error) -> SendFailure {
    if let Some(body) = request_body(error) {
        SendFailure::RequestBody(body)
    } else if error.is_parse() {
        SendFailure::InvalidResponse(whole(error))
    } else if error.is_incomplete_message() {
        SendFailure::Broken("the backend closed it".into())
    } else {
        SendFailure::Broken(cause(error))
    }
}

/// Why an answer's body ended early. `connection` is how the connection ended, which may say more.
pub(super) fn body_failure(error: &hyper::Error, connection: Option<&hyper::Error>) -> BodyError {
    if let Some(body) = connection.and_then(request_body) {
        return BodyError::Broken(format!("the request's body ended early: {body}"));
    }
    let io = |error: &hyper::Error| io_cause(error).map(|io| (io.kind(), io.to_string()));
    match io(error).or_else(|| connection.and_then(io)) {
        Some((io::ErrorKind::UnexpectedEof, _)) => BodyError::Broken("the backend closed it".into()),
        Some((io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, text)) => BodyError::Malformed(text),
        Some((_, text)) => BodyError::Broken(text),
        None => BodyError::Broken(cause(connection.unwrap_or(error))),
    }
}

/// The failure of the request's own body, if that ended the exchange.
fn request_body(error: &hyper::Error) -> Option<BodyError> {
    if error.is_body_write_aborted() {
        return Some(BodyError::Broken("it ended before its declared length".into()));
    }
    error.source()?.downcast_ref::<BodyError>().cloned()
}

fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref::<io::Error>()
}

fn cause(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn whole(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
