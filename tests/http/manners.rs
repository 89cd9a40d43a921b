//! Servers as they are met: every one of them serves, whatever it does with its connections, and each stream is whole.

use std::time::Duration;

use lw_inference_proxy::adapters::upstream::UpstreamSettings;
use tokio::task::JoinSet;

use super::support::http_stage::{Stage, Tuning};
use super::support::raw_backend::RawBackend;
use super::support::raw_client::{End, post};
use super::support::scripted::{self, Closes, EVENT, Manner, Speaks, Works};
use super::{MODEL, OK};

/// How many requests each gets, one behind the other on one connection.
const REQUESTS: usize = 12;

fn manners() -> Vec<Manner> {
    let quick = Manner { pace: Duration::from_millis(1), ..Manner::default() };
    let mut manners = Vec::new();
    for speaks in [Speaks::Http11, Speaks::Http10] {
        for works in [Works::AllAtOnce, Works::OneConnection, Works::ListWaits] {
            for closes in [Closes::Never, Closes::AfterStreams, Closes::AfterEach] {
                manners.push(Manner { speaks, works, closes, ..quick.clone() });
            }
        }
    }
    manners
}

#[tokio::test]
async fn no_request_is_lost_and_every_stream_is_whole_whatever_a_server_does_with_its_connections() {
    let mut running = JoinSet::new();
    for manner in manners() {
        running.spawn(is_served(manner));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn is_served(manner: Manner) {
    let backend = scripted::start(manner.clone()).await;
    // As it is by default: a backend has to show that it keeps its connections.
    let tuning = Tuning { upstream: UpstreamSettings::default(), ..Tuning::default() };
    let stage = Stage::tuned(&[("m", backend.address())], tuning).await;
    let mut client = stage.client().await;
    for number in 0..REQUESTS {
        let path = if number % 2 == 0 { "/v1/stream" } else { "/v1/x" };
        let answer = client.ask(post(path, MODEL)).await;
        let whole = if number % 2 == 0 { EVENT.repeat(manner.events) } else { MODEL.len().to_string() };
        assert_eq!((answer.status, answer.text(), answer.end), (200, whole, End::Complete), "{number}: {manner:?}");
    }
}

#[tokio::test]
async fn a_request_that_ends_with_trailers_leaves_its_connection() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    let body = "d\r\n{\"model\":\"m\"}\r\n0\r\nx-sum: 7\r\n\r\n";
    let head = "POST /v1/x HTTP/1.1\r\nhost: a\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = client.ask(format!("{head}{body}")).await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert_eq!(backend.requests()[0].trailers, "x-sum: 7\r\n");
    assert!(client.still_open().await);
}
