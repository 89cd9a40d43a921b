//! The official Python clients, through the real proxy, against mock backends and a real llama.cpp.

use engine_tests::{LLAMA_IMAGE, Mock, ProxyProcess, client, not_run, pytest, require_engine};

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_clients_work_through_the_proxy() {
    let engine = require_engine!();
    let (a, b) = (engine.unique("mock-a"), engine.unique("org/mock-b"));
    let _first = Mock::serving("client-a", &[&a]).start_healthy(&engine).await;
    let _second = Mock::serving("client-b", &[&b]).start_healthy(&engine).await;
    let proxy = ProxyProcess::start().await;
    proxy.until_listed(&a).await;
    proxy.until_listed(&b).await;
    let env = [("PROXY_URL", proxy.url("")), ("MODEL_A", a), ("MODEL_B", b)];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    pytest(&["test_openai.py", "test_anthropic.py"], &env).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_llama_cpp_works_through_the_proxy() {
    let engine = require_engine!();
    if !engine.has_image(LLAMA_IMAGE).await {
        return not_run("no llama.cpp image: run `make llama`");
    }
    let model = engine.unique("org/tiny-llama");
    let _llama = Mock::of_image(LLAMA_IMAGE, "llama")
        .label("inference.port", "8080")
        .command(&["--alias", &model])
        .start_healthy(&engine)
        .await;
    let proxy = ProxyProcess::start().await;
    proxy.until_listed(&model).await;
    let url = proxy.url("");
    pytest(&["test_llama.py"], &[("PROXY_URL", &url), ("LLAMA_MODEL", &model)]).await;
}

/// How many streams are asked for, one after the other, by each of so many clients.
const STREAMS: [(usize, usize); 2] = [(1, 600), (16, 50)];

/// llama.cpp closes a connection after a stream, and says nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_stream_of_a_real_llama_cpp_is_lost_between_two_others() {
    let engine = require_engine!();
    if !engine.has_image(LLAMA_IMAGE).await {
        return not_run("no llama.cpp image: run `make llama`");
    }
    let model = engine.unique("org/tiny-llama");
    let _llama = Mock::of_image(LLAMA_IMAGE, "streams")
        .label("inference.port", "8080")
        .command(&["--alias", &model])
        .start_healthy(&engine)
        .await;
    let proxy = ProxyProcess::start().await;
    proxy.until_listed(&model).await;
    let url = proxy.url("/v1/chat/completions");
    let body = serde_json::json!({
        "model": model, "stream": true, "max_tokens": 1,
        "messages": [{"role": "user", "content": "hello"}],
    });
    for (clients, each) in STREAMS {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let (url, body) = (url.clone(), body.clone());
            asking.spawn(async move {
                let client = client();
                let mut lost = 0;
                for _ in 0..each {
                    let response = client.post(&url).json(&body).send().await.expect("an answer");
                    lost += usize::from(response.status() != 200);
                    response.bytes().await.expect("a whole stream");
                }
                lost
            });
        }
        let lost: usize = asking.join_all().await.into_iter().sum();
        assert_eq!(lost, 0, "of {} streams", clients * each);
    }
}
