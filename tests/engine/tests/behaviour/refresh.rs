//! The list of a server in service changes: LoRA adapters come and go.

use crate::scene::{Stream, until_refused};
use engine_tests::{Mock, ProxyProcess, require_engine};

#[tokio::test(flavor = "multi_thread")]
async fn models_that_appear_are_served_and_those_that_go_are_not() {
    let engine = require_engine!();
    let (base, lora) = (engine.unique("org/base"), engine.unique("lora"));
    let proxy = ProxyProcess::builder().env("PROXY_MODELS_REFRESH", "1s").start().await;
    let mock = Mock::serving("adapting", &[&base]).start(&engine).await;
    proxy.until_listed(&base).await;
    let stream = Stream::begin(&proxy, &base, 120, 50).await;
    mock.get(&format!("/admin/models?{base},{lora}")).await.unwrap();
    proxy.until_answered_by(&lora, mock.name()).await;
    mock.get(&format!("/admin/models?{base}")).await.unwrap();
    until_refused(&proxy, &lora, 404, "model_not_found").await;
    proxy.until_answered_by(&base, mock.name()).await;
    stream.finish_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_stays_empty_is_believed_until_it_names_the_model_again() {
    let engine = require_engine!();
    let model = engine.unique("fickle");
    let proxy = ProxyProcess::builder().env("PROXY_MODELS_REFRESH", "200ms").start().await;
    let mock = Mock::serving("fickle", &[&model]).start(&engine).await;
    proxy.until_listed(&model).await;
    mock.get("/admin/models?").await.unwrap();
    until_refused(&proxy, &model, 404, "model_not_found").await;
    mock.get(&format!("/admin/models?{model}")).await.unwrap();
    proxy.until_answered_by(&model, mock.name()).await;
}
