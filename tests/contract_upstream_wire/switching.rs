//! Switches of protocols.

use http::Request;
use lw_inference_proxy::adapters::upstream::UpstreamSettings;
use ports::upstream::{BoxBody, SendFailure, UpstreamResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::bodies::{empty, get, text};
use crate::support::raw_backend::{RawBackend, soon};
use crate::support::upstream_contract::{fail, respond, send};
use crate::{OK, channel, channel_with};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn upgrade(to: &str) -> Request<BoxBody> {
    Request::get("/v1/realtime?model=m")
        .header("host", "h")
        .header("connection", "Upgrade")
        .header("upgrade", to)
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(empty())
        .unwrap()
}

#[tokio::test]
async fn the_request_for_a_switch_goes_out_as_it_is_and_early_bytes_are_kept() {
    let backend = RawBackend::once(|mut peer| async move {
        peer.request().await?;
        peer.send(format!("{SWITCH}early bytes of the new protocol")).await?;
        let echo = peer.exactly(4).await?;
        peer.send(&echo).await?;
        // The other side says that it has no more to say; that is heard, and answered.
        assert!(peer.exactly(1).await.is_err());
        peer.send("bye").await
    })
    .await;
    let Ok(UpstreamResponse::Tunnel(head, mut tunnel)) = send(&channel(&backend), upgrade("websocket")).await else {
        panic!("no tunnel")
    };
    assert_eq!((head.status().as_u16(), &head.headers()["upgrade"]), (101, &"websocket".parse().unwrap()));
    let expected =
        ["host: h", "connection: Upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];
    assert_eq!(backend.requests()[0].headers(), expected);
    tunnel.write_all(b"echo").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut read = String::new();
    soon("all bytes", tunnel.read_to_string(&mut read)).await.unwrap();
    assert_eq!(read, "early bytes of the new protocolechobye");
}

#[tokio::test]
async fn a_refused_switch_is_an_ordinary_answer() {
    let backend = RawBackend::answering(OK).await;
    let channel = channel(&backend);
    assert_eq!(text(respond(&channel, upgrade("websocket")).await).await, "ok");
    assert_eq!(text(respond(&channel, get("/")).await).await, "ok");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_switch_that_was_not_asked_for_is_an_invalid_answer() {
    for request in [get("/"), upgrade("h2c"), upgrade("other, thing")] {
        let backend = RawBackend::answering(SWITCH).await;
        let error = fail(&channel(&backend), request).await;
        assert!(matches!(error.failure, SendFailure::InvalidResponse(_)), "{error:?}");
        backend.until("the connection to be closed", |backend| backend.open() == 0).await;
    }
}

#[tokio::test]
async fn a_tunnel_counts_as_a_connection_and_goes_when_it_is_dropped() {
    let backend = RawBackend::start(|mut peer| async move {
        let request = peer.request().await?;
        let answer = if request.header("upgrade").is_some() { SWITCH } else { OK };
        peer.send(answer).await?;
        peer.ended().await;
        Ok(())
    })
    .await;
    let channel = channel_with(&backend, UpstreamSettings { max_connections: 1, ..UpstreamSettings::default() });
    let Ok(UpstreamResponse::Tunnel(_, tunnel)) = send(&channel, upgrade("websocket")).await else {
        panic!("no tunnel")
    };
    let error = fail(&channel, get("/")).await;
    assert!(matches!(error.failure, SendFailure::TooManyConnections(1)), "{error:?}");
    drop(tunnel);
    backend.until("the tunnel to be closed", |backend| backend.open() == 0).await;
    assert_eq!(text(respond(&channel, get("/")).await).await, "ok");
}
