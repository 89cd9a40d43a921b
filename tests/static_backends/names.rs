//! Servers that choose by `Host`: they know the name in the operator's URL, and no other.

use std::sync::{Arc, OnceLock};

use crate::stage::Stage;
use crate::support::raw_backend::RawBackend;
use crate::support::raw_client::RawClient;

const LIST: &str = r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;
const CHAT: &str = r#"{"model":"m"}"#;

/// A server of the model `m` that answers `status` to every other `Host`, and to a request with what the client's was.
async fn named(host: &'static str, status: u16) -> RawBackend {
    let own = Arc::new(OnceLock::<String>::new());
    let known = Arc::clone(&own);
    let backend = RawBackend::start(move |mut peer| {
        let known = Arc::clone(&known);
        async move {
            loop {
                let request = peer.request().await?;
                let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
                let is_known = known.get().is_some_and(|own| *own == header("host"));
                let (status, body) = match (is_known, request.line().starts_with("GET /v1/models ")) {
                    (false, _) => (status, String::new()),
                    (true, true) => (200, LIST.to_owned()),
                    (true, false) => (200, header("x-forwarded-host")),
                };
                let length = body.len();
                peer.send(format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n\r\n{body}")).await?;
            }
        }
    })
    .await;
    own.set(format!("{host}:{}", backend.address().port())).unwrap();
    backend
}

#[tokio::test]
async fn the_name_in_the_url_is_sent_when_models_are_listed_and_with_requests() {
    for (host, status) in [("localhost", 404), ("localhost", 403), ("127.0.0.1", 421)] {
        let backend = named(host, status).await;
        let stage = Stage::start(|_| vec![format!("http://{host}:{}/v1", backend.address().port())]);
        stage.until("a backend", |shared| shared.load().table.active() == 1).await;
        let mut client = RawClient::connect(stage.address).await;
        for _ in 0..2 {
            let length = CHAT.len();
            let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: llm.example\r\ncontent-type: application/json\r\n";
            client.send(format!("{head}content-length: {length}\r\n\r\n{CHAT}")).await;
            let answer = client.answer().await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, "llm.example".to_owned()), "{host} {status}");
        }
    }
}
