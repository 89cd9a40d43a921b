//! Multipart forms and their results.

use body_model::{BOUNDARY_MAX_BYTES, ModelFinder, PART_HEADERS_MAX_BYTES};

use crate::find::{in_chunks, model_or_code};

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
    finds(format!("{MODEL}\r\n--b--"), "<invalid_model>");
    for odd in [" ", "m\n", "m\r", "\r\nm", "m\r\n-", "m\r\n--", "m\r\n--c"] {
        finds(format!("{MODEL}{odd}\r\n--b--"), odd);
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
    finds(format!("hello\r\nthere -b\r\n--a\r\n\r\n{MODEL}m\r\n--b--"), "m");
}

#[test]
fn a_boundary_in_the_middle_of_a_preambles_line_is_refused() {
    // llama.cpp's server takes the first boundary anywhere.
    for start in ["x", "x\r\ny", "-", "--", "--a--", "\r\n-", " "] {
        finds(format!("{start}{MODEL}b\r\n{MODEL}a\r\n--b--"), "<invalid_body>");
    }
    finds(format!("hello --b\r\nthere\r\n{MODEL}m\r\n--b--"), "<invalid_body>");
    finds(format!("{}\r\n{MODEL}m\r\n--b--", "x".repeat(PART_HEADERS_MAX_BYTES + 1)), "<invalid_body>");
}

/// Checks the result of a form whose file has these parameters beside its name.
#[track_caller]
fn with_file(params: &str, expected: &str) {
    let file = format!("--b\r\nContent-Disposition: form-data; {params}\r\n\r\nRIFF");
    finds(format!("{MODEL}m\r\n{file}\r\n--b--"), expected);
    finds(format!("{file}\r\n{MODEL}m\r\n--b--"), expected);
}

#[test]
fn an_odd_file_name_is_no_reason_to_refuse_a_form() {
    for file in [
        r#"filename="my \"song\".wav""#,
        r#"filename="a\\b.wav""#,
        r#"filename="C:\music\""#,
        r#"filename="a;b.wav""#,
        r#"filename="model.wav""#,
        r#"filename="my \"model\".wav""#,
        r#"filename="a=b.wav""#,
        r#"filename="say "hi".wav""#,
        r#"filename="unclosed.wav"#,
        r#"filename = "a.wav""#,
        "filename=my song.wav",
        "filename=song(1).wav",
        "filename=a/b:c.wav",
        "filename=@home[1].wav",
        "filename=ü.wav",
        "filename=",
        "filename",
        "filename*=UTF-8''%e2%82%ac.wav; filename=\"EUR.wav\"",
        "filename*0=a; filename*1=.wav",
    ] {
        with_file(&format!("name=\"file\"; {file}"), "m");
        with_file(&format!("{file}; name=\"file\""), "m");
    }
    with_file("name = \"file\"; filename=\"a.wav\"", "m");
    with_file("NAME=\"file\"; filename=\"a.wav\"", "m");
    with_file("name=file name; filename=\"a.wav\"", "m");
    with_file("name=\"a\"; name=\"b\"", "m");
    with_file("name=\"fi\\\"le\"", "m");
    with_file("filename=\"a.wav\"", "<invalid_body>");
}

#[test]
fn a_part_that_some_server_takes_for_the_model_is_refused() {
    for params in [
        r#"name="file"; x="; name=model; y=""#,
        r#"x="; name=model; y="; name="file""#,
        r#"x=";name=\"model\";y="; name="file""#,
        r#"filename="; name=model; y="; name="file""#,
        r#"filename="a\"; name="model"; x="b"; name="file""#,
        r#"filename="a\\"; name="model""#,
        r#"name="file"; filename = "a"; name = "model""#,
        r#"name="fi\"; name="model""#,
        r#"name="model;x""#,
        r#"name="model";x"#,
        r#"name="mod\el"; filename="a"#,
        "name=model x",
        "name=model, x",
        "name = model",
        "NAME=model",
        "\"name\"=model",
        "name*=utf-8''model",
        "name*=utf-8''m%6fdel",
        "name*0=mo; name*1=del",
        "name*0*=mo; name=file",
        "name=\"=?utf-8?q?model?=\"",
        "xname=\"file\"; name=\"file\"; name=\"Model\"",
    ] {
        let part = format!("--b\r\nContent-Disposition: form-data; {params}\r\n\r\nb\r\n");
        for body in [format!("{MODEL}a\r\n{part}--b--"), format!("{part}{MODEL}a\r\n--b--")] {
            let found = find_form(&body);
            assert!(found.starts_with('<'), "{params}: routed to {found}");
        }
    }
    // The model's own part has to be clear.
    for params in
        [r#"name="model"; x="; name=other; y=""#, r#"x="; name=other; y="; name="model""#, r#"name="model"; x="; y"#]
    {
        let found = find_form(&format!("--b\r\nContent-Disposition: form-data; {params}\r\n\r\na\r\n--b--"));
        assert!(found.starts_with('<'), "{params}: routed to {found}");
    }
}

fn find_form(body: &str) -> String {
    model_or_code(&ModelFinder::multipart("b").unwrap(), body.as_bytes())
}

#[test]
fn a_model_with_two_types_is_refused_and_a_file_with_two_is_not() {
    let types = "Content-Type: text/plain\r\nContent-Type: text/plain; charset=latin1\r\n";
    let typed = |part: &str| format!("{}{types}\r\n", &part[..part.len() - 2]);
    finds(format!("{}m\r\n--b--", typed(MODEL)), "<invalid_model>");
    finds(format!("{}x\r\n{MODEL}m\r\n--b--", typed(FILE)), "m");
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
    finds(head(PART_HEADERS_MAX_BYTES - 100), "m");
    let finder = ModelFinder::multipart("b").unwrap();
    let found = in_chunks(finder, [head(PART_HEADERS_MAX_BYTES).as_bytes()]);
    assert_eq!(found.unwrap_err().code(), "invalid_body");
}

#[test]
fn boundaries_are_those_of_rfc_2046_and_a_little_more() {
    let longest = "x".repeat(BOUNDARY_MAX_BYTES);
    let eighty = "x".repeat(80);
    for boundary in ["b", "a b", "'()+_,-./:=?", "----WebKitFormBoundaryABC", "a{b}@[c]~!#$%&*|^`<>", &eighty, &longest]
    {
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
    assert_eq!(&**finder.model().unwrap(), "m");
}

#[test]
fn the_boundary_comes_from_the_content_type() {
    let header = b"multipart/form-data; boundary=\"b\"".as_slice();
    let finder = ModelFinder::for_content_type(Some(header)).unwrap();
    assert_eq!(model_or_code(&finder, format!("{MODEL}m\r\n--b--").as_bytes()), "m");
    let error = ModelFinder::for_content_type(Some(b"multipart/form-data")).unwrap_err();
    assert_eq!(error.code(), "invalid_body");
}

#[test]
fn a_boundary_needs_no_quotes() {
    let eighty = "x".repeat(80);
    for boundary in ["----=_Part_1_2.3", "a/b:c", "==", "(a)?", "a@b", &eighty] {
        for header in [
            format!("multipart/form-data; boundary={boundary}"),
            format!("multipart/form-data; boundary={boundary} ;x=y"),
        ] {
            let finder = ModelFinder::for_content_type(Some(header.as_bytes())).unwrap();
            let body = format!("{MODEL}m\r\n--b--").replace("--b", &format!("--{boundary}"));
            assert_eq!(model_or_code(&finder, body.as_bytes()), "m", "{header}");
        }
    }
}

#[test]
fn a_boundary_that_servers_read_differently_is_refused() {
    for header in [
        "multipart/form-data; x=\"; boundary=a; y=\"; boundary=b",
        "multipart/form-data; boundary=b; x=\"; boundary=a; y=\"",
        "multipart/form-data; boundary=b; x=\";boundary*=a\"",
        "multipart/form-data; xboundary=a; boundary=b",
        "multipart/form-data; boundary=b; \"boundary\"=a",
        "multipart/form-data; boundary=b; BOUNDARY = a",
        "multipart/form-data; boundary = b",
        "multipart/form-data; boundary= b",
        "multipart/form-data; boundary=b c",
        "multipart/form-data; boundary=b,c",
        "multipart/form-data; boundary=b\"c\"",
        "multipart/form-data; boundary=\"b;c\"",
    ] {
        let error = ModelFinder::for_content_type(Some(header.as_bytes())).unwrap_err();
        assert_eq!(error.code(), "invalid_body", "{header}");
    }
}
