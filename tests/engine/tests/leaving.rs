//! Clients that leave a real llama.cpp server: through the proxy its slot is free again as soon as without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use engine_tests::{BOUND, LLAMA_IMAGE, Mock, MockContainer, ProxyProcess, client, not_run, require_engine, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// The server itself takes up to some seconds to look; the rest is for a busy machine. Without a cancellation the slot
/// would generate for a quarter of an hour.
const FREED: Duration = Duration::from_secs(10);
/// While a client waits for a whole answer, the server looks whether it is still there when nothing has asked for a
/// second, its list of slots included: who asks more often keeps it from looking.
const UNDISTURBED: Duration = Duration::from_millis(1500);
/// So many tokens are asked for.
const ENDLESS: u64 = 1_000_000;

/// How many slots generate.
async fn busy(llama: &MockContainer) -> usize {
    let slots = llama.get("/slots").await.expect("the slots").json();
    slots.as_array().expect("a list").iter().filter(|slot| slot["is_processing"] == true).count()
}

async fn until_busy(llama: &MockContainer, count: usize) {
    until(&format!("{count} slots are busy"), BOUND, async || (busy(llama).await == count).then_some(())).await;
}

/// Asks at `base` for an answer that does not end, leaves while it is generated, and measures until the slot is free.
async fn leave(llama: &MockContainer, base: &str, model: &str, streams: bool) -> Duration {
    let body = json!({
        "model": model, "stream": streams, "max_tokens": ENDLESS, "ignore_eos": true,
        "messages": [{"role": "user", "content": "hello"}],
    });
    until_busy(llama, 0).await;
    let sent = client().post(format!("{base}/v1/chat/completions")).json(&body).send();
    if streams {
        let mut response = sent.await.expect("the head of a stream");
        assert!(response.chunk().await.expect("a first piece").is_some());
        until_busy(llama, 1).await;
        drop(response);
    } else {
        let waits = tokio::spawn(sent);
        until_busy(llama, 1).await;
        assert!(!waits.is_finished(), "it waits for the whole answer");
        waits.abort();
        assert!(waits.await.is_err_and(|why| why.is_cancelled()));
    }
    let left = Instant::now();
    let mut asked = left;
    until("the slot is free", BOUND, async || {
        if !streams && asked.elapsed() < UNDISTURBED {
            return None;
        }
        asked = Instant::now();
        (busy(llama).await == 0).then_some(())
    })
    .await;
    left.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_13_a_client_that_leaves_frees_its_slot_of_a_real_llama_cpp() {
    let engine = require_engine!();
    if !engine.has_image(LLAMA_IMAGE).await {
        return not_run("no llama.cpp image: run `make llama`");
    }
    let model = engine.unique("org/tiny-llama");
    // Where the context is full it is shifted, and generation goes on.
    let llama = Mock::of_image(LLAMA_IMAGE, "leaving")
        .label("inference.port", "8080")
        .command(&["--alias", &model, "--slots", "--context-shift"])
        .start_healthy(&engine)
        .await;
    let proxy = ProxyProcess::start().await;
    proxy.until_listed(&model).await;
    let direct = format!("http://{}", llama.authority().await);
    for (phase, streams) in [("waiting for a whole answer", false), ("streaming", true)] {
        let alone = leave(&llama, &direct, &model, streams).await;
        let through = leave(&llama, &proxy.url(""), &model, streams).await;
        println!(
            "rule 13: llama.cpp, {phase}: slot free {through:?} after the client left, without the proxy {alone:?}"
        );
        assert!(through < FREED, "{phase}: {through:?}");
    }
}
