//! The official Python clients, through the real proxy, against mock backends and a real llama.cpp.

use engine_tests::{LLAMA_IMAGE, Mock, ProxyProcess, not_run, pytest, require_engine};

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
