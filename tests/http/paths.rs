//! Targets: passed on byte for byte or refused, and never another host.

use domain::container::Container;
use domain::labels::{BasePath, InferenceLabels};

use super::OK;
use super::support::fake_container_source::container;
use super::support::http_stage::Stage;
use super::support::raw_backend::RawBackend;
use super::support::raw_client::{get, post};

#[tokio::test]
async fn rule_07_targets_pass_verbatim_or_are_refused() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let (mut passed, mut refused) = (0, 0);
    for (target, passes) in [
        ("/v1/chat/completions", true),
        ("/v1/chat/completions?a=b&c=%20&&=", true),
        ("/v1/files/a%2Fb", true),
        ("/v1/files/a%2fb", true),
        ("/v1/%7Euser/~x", true),
        ("/v1/{id}/'x'", true),
        ("/v1/x//y", true),
        ("/v1/x/", true),
        ("/v1/a.b/..c/d..", true),
        ("/v1/@169.254.169.254/latest", true),
        ("/v1/x?u=http://evil/../..", true),
        ("/v1/x?q=\\^|[]", true),
        ("/v1/", true),
        ("/v1/../metrics", false),
        ("/v1/./x", false),
        ("/v1/..", false),
        ("/v1/%2e%2e/metrics", false),
        ("/v1/.%2E/metrics", false),
        ("/v1/x%2f..%2fy", false),
        ("/v1/%2e%2e%2fmetrics", false),
        ("/v1/a\\b", false),
        ("/v1/a%5Cb", false),
        ("/v1/%00", false),
        ("/v1/%0d%0a", false),
        ("/v1/%zz", false),
        ("//evil/v1/x", false),
        ("http://evil/v1/x", false),
    ] {
        let with_model = if target.contains('?') { format!("{target}&model=m") } else { format!("{target}?model=m") };
        let answer = stage.ask(get(&with_model)).await;
        let seen = backend.requests();
        if passes {
            passed += 1;
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            assert_eq!(seen.last().unwrap().line(), format!("GET {with_model} HTTP/1.1"));
        } else {
            refused += 1;
            assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{target}");
        }
        assert_eq!(seen.len(), passed, "{target}");
    }
    println!("rule 7: {passed} targets byte for byte, {refused} refused, each at its own backend");
}

#[tokio::test]
async fn rule_07_the_base_path_takes_the_place_of_v1_and_nothing_else_changes() {
    let backend = RawBackend::answering(OK).await;
    for (base, expected) in [("/", "/x%2F/y?model=m&a=%zz"), ("/api/v2", "/api/v2/x%2F/y?model=m&a=%zz")] {
        let stage = Stage::before(backend.address()).await;
        let labels = Ok(InferenceLabels {
            port: backend.address().port(),
            base_path: BasePath::parse(base).unwrap(),
            ..InferenceLabels::default()
        });
        // A second container at the same address: the last one to become healthy serves.
        stage.source.put(Container { labels, ..container("b1") });
        let moved = |shared: &app::route_store::RouteStore| {
            let published = shared.load();
            let models = published.table.models();
            models.first().is_some_and(|(claim, _)| claim.backend.base_path.as_str() == base.trim_end_matches('/'))
        };
        stage.until("the base path", moved).await;
        assert_eq!(stage.ask(get("/v1/x%2F/y?model=m&a=%zz")).await.status, 200);
        assert_eq!(backend.requests().last().unwrap().line(), format!("GET {expected} HTTP/1.1"));
    }
}

#[tokio::test]
async fn rule_07_without_a_base_path_no_target_begins_with_two_slashes() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let labels = Ok(InferenceLabels {
        port: backend.address().port(),
        base_path: BasePath::parse("/").unwrap(),
        ..InferenceLabels::default()
    });
    stage.source.put(Container { labels, ..container("b1") });
    let moved = |shared: &app::route_store::RouteStore| {
        shared.load().table.models().first().is_some_and(|(claim, _)| claim.backend.base_path.as_str().is_empty())
    };
    stage.until("the base path", moved).await;
    let answer = stage.ask(get("/v1//evil.test/x?model=m")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{answer:?}");
    assert_eq!(stage.ask(get("/v1/x//y?model=m")).await.status, 200);
    let lines: Vec<_> = backend.requests().iter().map(|request| request.line().to_owned()).collect();
    assert_eq!(lines, ["GET /x//y?model=m HTTP/1.1"]);
}

#[tokio::test]
async fn what_is_not_there_is_404_in_the_callers_shape() {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    for target in
        ["/", "/metrics", "/v2/chat", "/v1", "/V1/models", "/healthz/", "/healthz/x", "/readyz2", "/favicon.ico"]
    {
        for request in [get(target), post(target, r#"{"model":"m"}"#)] {
            let answer = stage.ask(&request).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{request}");
        }
    }
    assert_eq!(stage.ask(post("/healthz", "{}")).await.status, 404);
    assert!(backend.requests().is_empty());
}
