//! The proxy among its own backends.

use crate::stage::{PROBE_EVERY, Script, Stage, pass};
use crate::support::raw_client::{RawClient, get, post};

#[tokio::test]
async fn the_proxy_is_never_its_own_backend_by_whatever_name() {
    let script = Script::streaming_every(PROBE_EVERY);
    let backend = script.start().await;
    let stage = Stage::start(|own| {
        vec![
            format!("http://{own}/v1"),
            format!("http://localhost:{}/v1", own.port()),
            format!("http://0.0.0.0:{}/v1", own.port()),
            format!("http://{own}/other/v1"),
            format!("http://{}/v1", backend.address()),
        ]
    });
    stage.until("a backend", |shared| shared.load().table.active() == 1).await;
    for _ in 0..20 {
        pass(PROBE_EVERY).await;
        assert_eq!(stage.shared.load().table.active(), 1, "it serves through itself");
    }
    let lines = stage.shared.report().containers;
    let own = lines.iter().filter(|line| line.line.contains("this is the proxy itself")).count();
    assert!(own >= 3, "{lines:?}");
    script.end.give();
    let mut client = RawClient::connect(stage.address).await;
    assert_eq!(client.ask(get("/v1/models")).await.json()["data"].as_array().unwrap().len(), 1);
    let answer = client.ask(post("/v1/chat/completions", r#"{"model":"m"}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
