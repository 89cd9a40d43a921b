//! JSON bodies and their results.

use body_model::{MAX_DEPTH, ModelFinder};

use crate::find::{find, in_chunks, model_or_code};

#[track_caller]
fn finds(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let shown: String = body.escape_ascii().to_string().chars().take(200).collect();
    assert_eq!(model_or_code(&ModelFinder::json(), body), expected, "{shown}");
}

#[track_caller]
fn all(bodies: &[&str], expected: &str) {
    for body in bodies {
        finds(body, expected);
    }
}

#[test]
fn the_top_level_model_is_found_wherever_it_stands() {
    all(
        &[
            r#"{"model":"m"}"#,
            r#"{"model":"m","messages":[]}"#,
            r#"{"messages":[{"role":"user","content":"hi"}],"model":"m"}"#,
            r#"{"a":1,"b":-0.5e+9,"c":true,"d":false,"e":null,"model":"m","f":""}"#,
            " \t\r\n{ \"model\" : \"m\" , \"x\" : [ ] , \"y\" : { } } \n",
            r#"{"":0,"model":"m"}"#,
        ],
        "m",
    );
}

#[test]
fn keys_and_values_are_unescaped() {
    all(&[r#"{"mod\u0065l":"m"}"#, r#"{"\u006d\u006F\u0064\u0065\u006c":"m"}"#, r#"{"model":"\u006d"}"#], "m");
    finds(r#"{"model":"org\/name"}"#, "org/name");
    finds(r#"{"model":"a\"b\\c"}"#, r#"a"b\c"#);
    finds(r#"{"model":"\ud83d\ude00\u00e9"}"#, "😀é");
    finds("{\"model\":\"模型\"}", "模型");
}

#[test]
fn two_models_are_ambiguous() {
    all(
        &[
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","model":"a"}"#,
            r#"{"model":"a","x":[1,{"y":2}],"mod\u0065l":"b"}"#,
            r#"{"mod\u0065l":"a","model":"b"}"#,
        ],
        "<ambiguous_model>",
    );
}

#[test]
fn a_key_that_equals_model_but_for_case_is_ambiguous() {
    all(
        &[r#"{"Model":"a"}"#, r#"{"model":"a","MODEL":"b"}"#, r#"{"mOdel":1,"model":"b"}"#, r#"{"\u004dodel":"a"}"#],
        "<ambiguous_model>",
    );
}

#[test]
fn nested_and_quoted_models_do_not_count() {
    all(
        &[
            r#"{"a":{"model":"x"},"model":"m"}"#,
            r#"{"a":[{"model":"x","Model":1},["model"]],"model":"m"}"#,
            r#"{"a":"\"model\":\"x\"","model":"m"}"#,
            r#"{"a":"model","b":"\\","model":"m","c":"\\\""}"#,
            r#"{"a":"},{\"model\":\"x\"}","model":"m"}"#,
            r#"{"models":"x","mode":"y","model ":"z","model":"m"}"#,
        ],
        "m",
    );
    finds(r#"{"a":{"model":"x"}}"#, "<missing_model>");
}

#[test]
fn no_model_is_missing() {
    all(&["{}", r#"{"a":"model"}"#, "", " \n", "\u{feff}"], "<missing_model>");
}

#[test]
fn a_model_that_is_no_string_is_named_in_the_error() {
    let table = [
        ("null", "null"),
        ("1", "a number"),
        ("-1", "a number"),
        ("NaN", "a number"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        ("[\"m\"]", "an array"),
        ("{\"model\":\"m\"}", "an object"),
    ];
    for (value, found) in table {
        let body = format!("{{\"model\": {value}}}");
        let error = find(&ModelFinder::json(), body.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "invalid_model");
        assert!(error.to_string().contains(&format!("it is {found}, not a string")), "{error}");
    }
}

#[test]
fn a_string_that_is_empty_too_long_or_half_a_character_is_invalid() {
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(257));
    all(
        &[
            r#"{"model":""}"#,
            r#"{"model":"\ud800"}"#,
            r#"{"model":"\udc00\ud800"}"#,
            r#"{"model":"\ud800x"}"#,
            r#"{"model":"\ud800\n"}"#,
            &long,
        ],
        "<invalid_model>",
    );
    finds(b"{\"model\":\"\xff\"}", "<invalid_model>");
    finds(b"{\"model\":\"\xed\xa0\x80\"}", "<invalid_model>");
    finds(format!(r#"{{"model":"{}"}}"#, "x".repeat(256)), &"x".repeat(256));
    finds(format!(r#"{{"model":"{}"}}"#, "\\u0078".repeat(256)), &"x".repeat(256));
}

#[test]
fn a_key_that_some_readers_clean_up_into_model_is_invalid() {
    all(
        &[r#"{"model\u0000x":"a"}"#, r#"{"mo\ud800del":"a","model":"b"}"#, "{\"mo\u{7}del\":\"a\"}"],
        "<invalid_model>",
    );
    finds(b"{\"mo\xffdel\":\"a\",\"model\":\"b\"}", "<invalid_model>");
}

#[test]
fn bad_unicode_elsewhere_is_left_to_the_backend() {
    finds(b"{\"a\":\"\xff\xc0\",\"\xfe\":1,\"model\":\"m\"}", "m");
    finds(r#"{"a":"\ud800","\udc00":1,"model":"m"}"#, "m");
    finds("{\"a\":\"tab\tand\nline\0\",\"model\":\"m\"}", "m");
}

#[test]
fn the_byte_order_mark_of_utf_8_is_accepted_at_the_start_only() {
    finds("\u{feff}{\"model\":\"m\"}", "m");
    finds(" \u{feff}{\"model\":\"m\"}", "<invalid_body>");
    finds("\u{feff}\u{feff}{\"model\":\"m\"}", "<invalid_body>");
    finds(b"\xef\xbb{\"model\":\"m\"}", "<invalid_body>");
}

#[test]
fn wide_encodings_are_invalid() {
    let text = "{\"model\":\"m\"}";
    for bom in ["", "\u{feff}"] {
        let text = format!("{bom}{text}");
        let utf16 = text.encode_utf16();
        let le: Vec<u8> = utf16.clone().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = utf16.flat_map(u16::to_be_bytes).collect();
        let wide: Vec<u8> = text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        let wide_be: Vec<u8> = text.chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
        for body in [le, be, wide, wide_be] {
            let error = find(&ModelFinder::json(), &body).unwrap_err();
            assert_eq!(error.code(), "invalid_body");
            assert!(error.to_string().contains("UTF-16"), "{error}");
        }
    }
}

#[test]
fn a_body_that_is_no_object_is_invalid() {
    all(
        &[
            "[]",
            "\"model\"",
            "null",
            "1",
            "model=m",
            "[{\"model\":\"m\"}]",
            "// x\n{\"model\":\"m\"}",
            "\u{a0}{\"model\":\"m\"}",
            "\u{b}{\"model\":\"m\"}",
        ],
        "<invalid_body>",
    );
}

#[test]
fn unusual_numbers_and_whatever_follows_pass() {
    all(
        &[
            r#"{"a":NaN,"b":-Infinity,"c":1e999,"d":123456789012345678901234567890,"model":"m"}"#,
            r#"{"a":[Infinity,01,1.],"model":"m"}"#,
            r#"{"model":"m"}{"model":"n"}"#,
            r#"{"model":"m"} garbage ]}""#,
            "{\"model\":\"m\"}\0\0",
        ],
        "m",
    );
    finds(r#"{}{"model":"m"}"#, "<missing_model>");
}

#[test]
fn broken_structure_is_invalid() {
    all(
        &[
            r#"{"model":"m""#,
            r#"{"model":"m"#,
            r#"{"model":"m\"#,
            r#"{"model":"m\u00"#,
            r#"{"model":"m","#,
            r#"{"model""#,
            r#"{"#,
            r#"{"model":"m"]"#,
            r#"{"a":[1},"model":"m"}"#,
            r#"{"a":[1,],"model":"m"}"#,
            r#"{"a":{"b":1,},"model":"m"}"#,
            r#"{"model":"m",}"#,
            r#"{,"model":"m"}"#,
            r#"{"a" "b","model":"m"}"#,
            r#"{"a":,"model":"m"}"#,
            r#"{"a","model":"m"}"#,
            r#"{"a":1 "model":"m"}"#,
            r#"{"a":"b""model":"m"}"#,
            r#"{"a":1 2,"model":"m"}"#,
            r#"{"a":{1:2},"model":"m"}"#,
            r#"{'model':"m"}"#,
            r#"{model:"m"}"#,
            r#"{"a":'x',"model":"m"}"#,
            r#"{"a":x,"model":"m"}"#,
            r#"{/*"*/"model":"m"}"#,
            "{\"a\":1,//\n\"model\":\"m\"}",
            r#"{"a":"\x41","model":"m"}"#,
            r#"{"a":"\u12"","model":"m"}"#,
            r#"{"a":"\u+123","model":"m"}"#,
            "{\"a\":\"\\\n\",\"model\":\"m\"}",
            "{\u{a0}\"model\":\"m\"}",
            "{\"a\":1\u{c},\"model\":\"m\"}",
            "{\0\"model\":\"m\"}",
        ],
        "<invalid_body>",
    );
}

#[test]
fn the_error_says_where_the_body_goes_wrong() {
    let error = find(&ModelFinder::json(), br#"{"a":1 "model":"m"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The body of the request cannot be read: it is not valid JSON, byte 7 should be `,` or `}`."
    );
}

#[test]
fn depth_is_counted_and_capped() {
    let nested = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        format!(r#"{{"a":{open}1{close},"model":"m"}}"#)
    };
    finds(nested("[", "]", MAX_DEPTH - 1), "m");
    finds(nested(r#"{"model":"#, "}", MAX_DEPTH - 1), "m");
    finds(nested(r#"[{"x":"#, "}]", MAX_DEPTH / 2 - 1), "m");
    finds(nested("[", "]", MAX_DEPTH), "<invalid_body>");
    finds(nested("[", "]", 5000), "<invalid_body>");
    finds("[".repeat(1_000_000), "<invalid_body>");
}

#[test]
fn a_prompt_of_20_megabytes_before_the_model_is_passed_over() {
    let body = format!(r#"{{"p":"{}","model":"m"}}"#, "lorem \\n \\\" ".repeat(1_600_000));
    let found = in_chunks(ModelFinder::json(), body.as_bytes().chunks(16 * 1024));
    assert_eq!(found, Ok("m".to_owned()));
}

#[test]
fn the_model_is_known_as_soon_as_its_value_ends() {
    let mut finder = ModelFinder::json();
    finder.feed(br#"{"model":"m"#).unwrap();
    assert_eq!(finder.model(), None);
    finder.feed(br#"""#).unwrap();
    assert_eq!(&**finder.model().unwrap(), "m");
    assert_eq!(finder.feed(br#","model":"#).unwrap_err().code(), "ambiguous_model");
    assert_eq!(finder.model(), None);
}

#[test]
fn latin_1_bodies_give_ascii_models_only() {
    let declared =
        |charset: &str| ModelFinder::for_content_type(Some(format!("text/plain; charset={charset}").as_bytes()));
    let latin = declared("ISO-8859-1").unwrap();
    assert_eq!(model_or_code(&latin, br#"{"a":"\xe9","model":"m"}"#.as_slice()), "<invalid_body>");
    assert_eq!(model_or_code(&latin, b"{\"a\":\"\xe9\",\"model\":\"m\"}"), "m");
    assert_eq!(model_or_code(&latin, "{\"model\":\"é\"}".as_bytes()), "<invalid_model>");
    assert_eq!(declared("utf-7").unwrap_err().code(), "invalid_body");
}
