//! Sends exports over HTTP/1.1, with and without TLS: one connection each, straight to the collector.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// The longest response. It reports rejected records, if any.
const RESPONSE_MAX: usize = 256 * 1024;

/// A client that ignores the environment's proxy variables and follows no redirects.
pub(super) struct Client {
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(tls: Option<rustls::ClientConfig>, timeout: Duration) -> Self {
        Self { tls: tls.map(|tls| TlsConnector::from(Arc::new(tls))), timeout }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (host, port) = target(request.uri()).ok_or_else(|| io::Error::other("endpoint has no host"))?;
        let socket = TcpStream::connect((host.as_str(), port)).await?;
        socket.set_nodelay(true)?;
        match &self.tls {
            None => round_trip(socket, request).await,
            Some(tls) => round_trip(tls.connect(ServerName::try_from(host)?, socket).await?, request).await,
        }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match tokio::time::timeout(self.timeout, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(format!("no response from the collector within {:?}", self.timeout).into()),
        }
    }
}

/// Returns the host and port to connect to.
fn target(uri: &Uri) -> Option<(String, u16)> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    Some((host.to_owned(), uri.port_u16().unwrap_or(default)))
}

/// Sends one request and reads its response, then closes the connection.
async fn round_trip(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let authority = request.uri().authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = HeaderValue::try_from(host)?;
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, RESPONSE_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
