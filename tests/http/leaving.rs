//! Clients that leave: noticed at once, whatever stands unread before their end.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::support::http_stage::Stage;
use super::support::raw_backend::{RawBackend, Signal};
use super::support::raw_client::{RawClient, post};
use super::{EVENTS, MODEL};

const UPGRADE: &str =
    "GET /v1/realtime?model=m HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const NEXT: &str = "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n";

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    Closes,
    HalfCloses,
    Resets,
}

impl Leaves {
    async fn leave(self, mut client: RawClient) -> Option<RawClient> {
        match self {
            Self::Closes => None,
            Self::Resets => {
                client.stream.set_zero_linger().unwrap();
                None
            }
            Self::HalfCloses => {
                client.stream.shutdown().await.unwrap();
                Some(client)
            }
        }
    }
}

/// A backend that answers with `early` and then waits for the end.
async fn waiting(early: &'static str, reached: &Signal) -> RawBackend {
    let reached = reached.clone();
    RawBackend::start(move |mut peer| {
        let reached = reached.clone();
        async move {
            peer.head().await?;
            peer.send(early).await?;
            reached.give();
            peer.ended().await;
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_whatever_it_sent_behind_its_request() {
    let (waits, upload) =
        (post("/v1/x", MODEL), "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\n{\"model\":\"m\",");
    let old = waits.replace("HTTP/1.1", "HTTP/1.0");
    let kinds = [
        ("waiting", waits.as_str(), ""),
        ("waiting, HTTP/1.0", old.as_str(), ""),
        ("streaming", waits.as_str(), EVENTS),
        ("uploading", upload, ""),
        ("switching", UPGRADE, ""),
    ];
    for (kind, request, early) in kinds {
        for behind in ["", "\r\n", "G", NEXT] {
            for leaves in [Leaves::Closes, Leaves::HalfCloses, Leaves::Resets] {
                let reached = Signal::new();
                let backend = waiting(early, &reached).await;
                let stage = Stage::before(backend.address()).await;
                let mut client = stage.client().await;
                client.send(request).await;
                reached.given().await;
                if !early.is_empty() {
                    client.head().await.unwrap();
                }
                client.send(behind).await;
                // What stands there has been looked at before the end comes.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let _open = leaves.leave(client).await;
                let gone = tokio::time::timeout(Duration::from_secs(2), async {
                    stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
                    backend.until("the end at the backend", |backend| backend.open() == 0).await;
                });
                assert!(gone.await.is_ok(), "{kind}, {behind:?} behind it, {leaves:?}: not noticed");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_resets_is_noticed_though_its_upload_stands_still() {
    let reached = Signal::new();
    let backend = {
        let reached = reached.clone();
        RawBackend::start(move |mut peer| {
            let reached = reached.clone();
            async move {
                peer.head().await?;
                reached.give();
                std::future::pending().await
            }
        })
        .await
    };
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    client.send("POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n{\"model\":\"m\",\"x\":\"").await;
    reached.given().await;
    let chunk = [b'x'; 65536];
    while tokio::time::timeout(Duration::from_millis(300), client.stream.write(&chunk)).await.is_ok() {}
    client.stream.set_zero_linger().unwrap();
    drop(client);
    stage.until("nothing in flight", |_| stage.in_flight("b0") == 0).await;
}
