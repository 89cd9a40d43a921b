//! The list of models and single ones, in the forms in which clients ask.

use super::OK;
use super::support::http_stage::Stage;
use super::support::raw_backend::RawBackend;
use super::support::raw_client::get;

async fn stage() -> (Stage, RawBackend) {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::tuned(&[("org/name", backend.address())], super::support::http_stage::Tuning::default()).await;
    (stage, backend)
}

#[tokio::test]
async fn the_list_is_answered_from_memory_in_a_form_for_every_client() {
    let (stage, backend) = stage().await;
    for target in ["/v1/models", "/v1/models?limit=1000", "/v1/models?model=x"] {
        let answer = stage.ask(get(target)).await;
        let list = answer.json();
        assert_eq!((answer.status, &list["object"], &list["has_more"]), (200, &"list".into(), &false.into()));
        assert_eq!(list["data"][0]["id"], "org/name");
        assert_eq!((&list["first_id"], &list["last_id"]), (&"org/name".into(), &"org/name".into()));
        for field in ["object", "created", "owned_by", "type", "display_name", "created_at"] {
            assert!(!list["data"][0][field].is_null(), "{field}: {list}");
        }
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert!(backend.requests().is_empty(), "no backend is asked");
}

#[tokio::test]
async fn one_model_is_found_with_its_slashes_raw_or_escaped() {
    let (stage, backend) = stage().await;
    for target in [
        "/v1/models/org/name",
        "/v1/models/org%2Fname",
        "/v1/models/org%2fname",
        "/v1/models/org/name/",
        "/v1/models/org%2Fname/",
    ] {
        let answer = stage.ask(get(target)).await;
        assert_eq!((answer.status, &answer.json()["id"]), (200, &"org/name".into()), "{target}");
    }
    for target in ["/v1/models/other", "/v1/models/org", "/v1/models/org/name//", "/v1/models/%ff", "/v1/models/%C3%28"]
    {
        let answer = stage.ask(get(target)).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "model_not_found"), "{target}: {answer:?}");
    }
    for target in ["/v1/models/", "/v1/models/?limit=1"] {
        let answer = stage.ask(get(target)).await;
        assert_eq!((answer.status, &answer.json()["data"][0]["id"]), (200, &"org/name".into()), "{target}");
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn whatever_is_listed_can_be_retrieved() {
    let backend = RawBackend::answering(OK).await;
    let ids = [
        r"C:\models\m.gguf",
        "../models/m.gguf",
        "/models/m",
        "./m",
        "a/../b",
        "..",
        "m/",
        "a//b",
        "a?b",
        "a#b",
        "50%",
        "%2e",
        "a b",
        "模/型",
        "a;b=c",
        "list?model=x",
    ];
    let backends = ids.map(|id| (id, backend.address()));
    let stage = Stage::tuned(&backends[..1], super::support::http_stage::Tuning::default()).await;
    for (number, (id, address)) in backends.into_iter().enumerate().skip(1) {
        stage.add(&format!("b{number}"), id, address).await;
    }
    for id in ids {
        let upper: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let lower = upper.to_lowercase();
        let plain = |c: char| c.is_ascii_graphic() && !"%?#".contains(c);
        let raw: String = id
            .chars()
            .map(
                |c| if plain(c) { c.to_string() } else { c.to_string().bytes().map(|b| format!("%{b:02X}")).collect() },
            )
            .collect();
        for target in [&upper, &lower, &raw, &format!("{upper}/")] {
            let answer = stage.ask(get(&format!("/v1/models/{target}"))).await;
            assert_eq!((answer.status, &answer.json()["id"]), (200, &id.into()), "{target}: {answer:?}");
        }
    }
    for target in [
        "/v1/models/../x",
        "/v1/models/..%2fother",
        "/v1/models/a%5Cb",
        "/v1/models/../../metrics",
        "/v1/models/%00",
        "/v1/models/%zz",
    ] {
        let answer = stage.ask(get(target)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{target}: {answer:?}");
    }
    // Only what is answered from memory: a path that goes on to a backend is plain.
    let answer = stage.ask(r"DELETE /v1/models/..?model=.. HTTP/1.1".to_owned() + "\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert!(backend.requests().is_empty());
}

#[tokio::test]
async fn head_has_the_head_of_get() {
    let (stage, _backend) = stage().await;
    for target in ["/v1/models", "/v1/models/org/name", "/healthz", "/readyz", "/v1/models/other"] {
        let got = stage.ask(get(target)).await;
        let mut client = stage.client().await;
        let head = client.ask(format!("HEAD {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(head.status, got.status, "{target}");
        assert_eq!(head.header("content-type"), got.header("content-type"), "{target}");
        assert_eq!(head.header("content-length"), got.header("content-length"), "{target}");
        assert!(client.still_open().await, "{target}: no byte of a body came");
    }
}

#[tokio::test]
async fn other_methods_on_models_go_to_a_backend() {
    let (stage, backend) = stage().await;
    let answer = stage.ask("DELETE /v1/models/org/name?model=org/name HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(backend.requests()[0].line(), "DELETE /v1/models/org/name?model=org/name HTTP/1.1");
}
