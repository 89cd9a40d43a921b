//! A server that answers, or is busy, lives: its requests are kept.

use std::time::Duration;

use crate::stage::{DRAIN, List, PROBE_EVERY, PROBE_TIMEOUT, Script, Stage, pass};
use crate::support::raw_client::End;

/// Longer than everything that could end a request: failures, the recovery, the grace of a death, the drain.
const LONG: Duration = Duration::from_secs(3);

/// Reads on until the end, and says how often an event came.
async fn rest(client: &mut crate::support::raw_client::RawClient) -> Result<String, End> {
    let mut all = Vec::new();
    while let Some(chunk) = client.next_chunk().await? {
        all.extend(chunk);
    }
    Ok(String::from_utf8(all).unwrap())
}

#[tokio::test]
async fn answers_outlive_failing_lists_and_the_recovery() {
    let lists = [
        List::of("503 Service Unavailable", "loading"),
        List::of("500 Internal Server Error", ""),
        List::of("401 Unauthorized", "{}"),
        List::of("200 OK", r#"{"object":"list","data":[]}"#),
        List::of("200 OK", "<html>"),
        List::of("200 OK", &"x".repeat(2 << 20)),
        List::Never,
    ];
    let scenes = lists.map(|list| async move {
        // Silent between its first event and its end, as a long prefill of the next request would have it.
        let script = Script::streaming_every(Duration::from_secs(3600));
        let backend = script.start().await;
        let stage = Stage::serving(&backend).await;
        let mut client = stage.stream().await;
        script.may_begin.send_replace(false);
        let mut waiting = stage.begin().await;
        script.lists(list.clone());
        pass(6 * PROBE_EVERY + 3 * PROBE_TIMEOUT).await;
        script.lists(List::good());
        pass(LONG).await;
        script.may_begin.send_replace(true);
        script.end.give();
        assert!(rest(&mut client).await.unwrap_or_default().ends_with("data: [DONE]\n\n"), "{list:?}");
        assert_eq!(waiting.head().await.map(|head| head.status), Some(200), "{list:?}");
        assert!(rest(&mut waiting).await.unwrap_or_default().ends_with("data: [DONE]\n\n"), "{list:?}");
        stage.until("a backend", |shared| shared.load().table.active() == 1).await;
    });
    futures_util::future::join_all(scenes).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_our_requests_stays_in_service() {
    let script = Script::streaming_every(PROBE_EVERY);
    let backend = script.start().await;
    let stage = Stage::serving(&backend).await;
    let mut client = stage.stream().await;
    script.lists(List::Never);
    let long = tokio::time::Instant::now() + 4 * PROBE_TIMEOUT + 2 * DRAIN;
    while tokio::time::Instant::now() < long {
        pass(PROBE_EVERY).await;
        assert_eq!(stage.shared.load().table.active(), 1, "it was taken out of service");
    }
    script.end.give();
    assert!(rest(&mut client).await.unwrap().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn nothing_is_asked_while_an_answer_is_in_flight_and_everything_at_its_end() {
    let script = Script::streaming_every(PROBE_EVERY);
    let backend = script.start().await;
    let stage = Stage::serving(&backend).await;
    let mut client = stage.stream().await;
    // What was on its way already is let pass.
    pass(PROBE_EVERY).await;
    script.lists(List::EndsGenerations);
    let asked = script.asked();
    pass(10 * PROBE_EVERY).await;
    assert_eq!(script.asked(), asked, "it was asked in the middle of an answer");
    script.lists(List::of("200 OK", r#"{"data":[{"id":"m"},{"id":"lora"}]}"#));
    script.end.give();
    assert!(rest(&mut client).await.unwrap().ends_with("data: [DONE]\n\n"));
    stage.until("the new model", |shared| shared.load().table.claimed_name("lora").is_some()).await;
}
