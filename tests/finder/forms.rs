//! Named multipart forms and what must be found in them.

use lw_inference_proxy::domain::finder::{BOUNDARY_MAX_BYTES, ModelFinder, PART_HEAD_MAX_BYTES};

use crate::ask::{in_chunks, model_or_code};

const MODEL: &str = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
const FILE: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n";

#[track_caller]
fn finds(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let finder = ModelFinder::multipart("b").unwrap();
    assert_eq!(model_or_code(&finder, body), expected, "{}", body.escape_ascii());
}

#[test]
fn the_model_is_found_before_and_after_the_file() {
    finds(format!("{MODEL}m\r\n{FILE}\0\u{ff}\r\n--b--\r\n"), "m");
    finds(format!("{FILE}\0\u{ff}\r\n{MODEL}m\r\n--b--\r\n"), "m");
    finds(format!("{MODEL}org/name\r\n--b--"), "org/name");
}

#[test]
fn the_value_is_taken_byte_for_byte() {
    finds(format!("{MODEL} m \r\n--b--"), " m ");
    finds(format!("{MODEL}m--b\r\n--b--"), "m--b");
    finds(format!("{MODEL}m--\r\n--b--"), "m--");
    finds(format!("{MODEL}\"m\"\r\n--b--"), "\"m\"");
    finds(format!("{MODEL}%6d\r\n--b--"), "%6d");
    finds(format!("{MODEL}模\r\n--b--"), "模");
    for odd in ["", " ", "m\n", "m\r", "\r\nm", "m\r\n-", "m\r\n--", "m\r\n--c"] {
        finds(format!("{MODEL}{odd}\r\n--b--"), "<invalid_model>");
    }
    let long = "x".repeat(256);
    finds(format!("{MODEL}{long}\r\n--b--"), &long);
    finds(format!("{MODEL}{long}x\r\n--b--"), "<invalid_model>");
    finds([MODEL.as_bytes(), b"\xff\r\n--b--"].concat(), "<invalid_model>");
}

#[test]
fn a_file_that_looks_like_a_form_hides_nothing() {
    let inner = "\r\n--c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx\r\n--c--\r\n -";
    finds(format!("{FILE}{inner}\r\n{MODEL}m\r\n--b--"), "m");
    finds(format!("{FILE}x--b\r\n-\r--\n-\r\r\n\r\n{MODEL}m\r\n--b--"), "m");
    finds(format!("{FILE}\r\n\r\n{MODEL}m\r\n--b--"), "m");
}

#[test]
fn two_models_are_ambiguous() {
    finds(format!("{MODEL}m\r\n{MODEL}m\r\n--b--"), "<ambiguous_model>");
    let other = MODEL.replace("model", "Model");
    finds(format!("{MODEL}m\r\n{other}n\r\n--b--"), "<ambiguous_model>");
}

#[test]
fn the_first_boundary_may_follow_a_preamble() {
    finds(format!("\r\n{MODEL}m\r\n--b--"), "m");
    finds(format!("hello --b\r\nthere\r\n{MODEL}m\r\n--b--"), "m");
}

#[test]
fn forms_that_servers_read_differently_are_invalid() {
    let lf = format!("{MODEL}m\r\n--b--").replace("\r\n", "\n");
    let cr = format!("{MODEL}m\r\n--b--").replace("\r\n", "\r");
    let padded = MODEL.replacen("--b", "--b ", 1);
    for body in [
        lf,
        cr,
        format!("{padded}m\r\n--b--"),
        format!("{MODEL}m\n--b--"),
        format!("{MODEL}m\r--b--"),
        format!("{MODEL}m\r\n--bc\r\n--b--"),
        format!("{MODEL}m\r\n--b-\r\n--b--"),
        format!("{MODEL}m\r\n--b--x"),
        format!("{MODEL}m\r\n--b--\r\n{MODEL}n\r\n--b--"),
        format!("{MODEL}--b--"),
        format!("hello\n{MODEL}m\r\n--b--"),
        "--b\r\n\r\nm\r\n--b--".to_owned(),
        format!("{}--bx: y\r\n\r\nm\r\n--b--", &MODEL[..MODEL.len() - 2]),
        "--b\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nm\r\n--b--".to_owned(),
        "--b\r\nContent-Disposition: form-data; name=\"model\"\n\r\n\r\nm\r\n--b--".to_owned(),
    ] {
        finds(body, "<invalid_body>");
    }
}

#[test]
fn a_form_that_is_cut_off_is_invalid_at_every_byte() {
    let body = format!("{FILE}audio\r\n{MODEL}m\r\n--b--");
    finds("", "<missing_model>");
    for end in 1..body.len() {
        finds(&body[..end], "<invalid_body>");
    }
    finds("--b--", "<missing_model>");
    finds(format!("{FILE}\r\n--b--\r\n"), "<missing_model>");
}

#[test]
fn the_headers_of_a_part_are_bounded() {
    let head = |padding: usize| {
        let named = &MODEL[..MODEL.len() - 2];
        format!("{named}X: {}\r\n\r\nm\r\n--b--", "x".repeat(padding))
    };
    finds(head(PART_HEAD_MAX_BYTES - 100), "m");
    let finder = ModelFinder::multipart("b").unwrap();
    let found = in_chunks(finder, [head(PART_HEAD_MAX_BYTES).as_bytes()]);
    assert_eq!(found.unwrap_err().code(), "invalid_body");
}

#[test]
fn boundaries_are_those_of_rfc_2046() {
    let longest = "x".repeat(BOUNDARY_MAX_BYTES);
    for boundary in ["b", "a b", "'()+_,-./:=?", "----WebKitFormBoundaryABC", &longest] {
        assert!(ModelFinder::multipart(boundary).is_ok(), "{boundary}");
    }
    for boundary in ["", "a ", "a\"", "a;b", "a\r\n", "é", &format!("{longest}x")] {
        let error = ModelFinder::multipart(boundary).unwrap_err();
        assert_eq!(error.code(), "invalid_body", "{boundary}");
    }
}

#[test]
fn the_model_is_known_at_the_boundary_that_ends_it() {
    let mut finder = ModelFinder::multipart("b").unwrap();
    finder.feed(format!("{MODEL}m\r\n--b").as_bytes()).unwrap();
    assert_eq!(finder.model(), None);
    finder.feed(b"\r\n").unwrap();
    assert_eq!(finder.model().unwrap().as_str(), "m");
}

#[test]
fn the_boundary_comes_from_the_content_type() {
    let header = b"multipart/form-data; boundary=\"b\"".as_slice();
    let finder = ModelFinder::for_content_type(Some(header)).unwrap();
    assert_eq!(model_or_code(&finder, format!("{MODEL}m\r\n--b--").as_bytes()), "m");
    let error = ModelFinder::for_content_type(Some(b"multipart/form-data")).unwrap_err();
    assert_eq!(error.code(), "invalid_body");
}
