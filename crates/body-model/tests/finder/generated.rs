//! Generated bodies: the finder agrees with `serde_json`, whatever the chunks.

use body_model::ModelFinder;
use proptest::prelude::*;

use crate::bodies::{Seeded, body, spoil};
use crate::find::in_chunks;

/// Returns the model by `serde_json`; `None` if it rejects the body or finds no string. The last key wins.
pub fn expected(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(value.get("model")?.as_str()?.to_owned())
}

/// Splits a body at these places.
fn split<'a>(body: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|p| p % (body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

fn places() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_sane_body_gives_the_model_that_serde_json_finds(seed: u64, places in places()) {
        let body = body(&mut Seeded(seed), false);
        let found = in_chunks(ModelFinder::json(), split(body.as_bytes(), &places));
        prop_assert_eq!(found.ok(), expected(body.as_bytes()), "{}", body);
    }

    #[test]
    fn what_serde_json_accepts_gives_its_model_or_an_error(seed: u64, places in places()) {
        let draw = &mut Seeded(seed);
        let good = body(draw, true);
        let bad = spoil(draw, &good);
        for body in [good.as_bytes(), &bad] {
            let found = in_chunks(ModelFinder::json(), split(body, &places));
            let accepted = serde_json::from_slice::<serde_json::Value>(body).is_ok();
            if let (Ok(found), true) = (found, accepted) {
                prop_assert_eq!(Some(found), expected(body), "{}", body.escape_ascii());
            }
        }
    }

    #[test]
    fn chunks_make_no_difference_to_json(seed: u64, places in places()) {
        let draw = &mut Seeded(seed);
        let good = body(draw, true);
        let body = spoil(draw, &good);
        let whole = in_chunks(ModelFinder::json(), [&body[..]]);
        prop_assert_eq!(&in_chunks(ModelFinder::json(), split(&body, &places)), &whole);
        prop_assert_eq!(&in_chunks(ModelFinder::json(), body.chunks(1)), &whole);
    }

    #[test]
    fn chunks_make_no_difference_to_arbitrary_bytes(body: Vec<u8>, places in places()) {
        for start in [&b""[..], b"{\"", b"{\"a\":[[\""] {
            let body = [start, &body].concat();
            let whole = in_chunks(ModelFinder::json(), [&body[..]]);
            prop_assert_eq!(in_chunks(ModelFinder::json(), split(&body, &places)), whole);
        }
    }

    #[test]
    fn chunks_make_no_difference_to_forms(
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS.to_vec()), 0..14),
        places in places(),
    ) {
        let body = fragments.concat();
        let finder = ModelFinder::multipart("b").unwrap();
        let whole = in_chunks(finder.clone(), [body.as_bytes()]);
        prop_assert_eq!(&in_chunks(finder.clone(), split(body.as_bytes(), &places)), &whole);
        prop_assert_eq!(&in_chunks(finder, body.as_bytes().chunks(1)), &whole);
    }

    #[test]
    fn a_form_gives_back_its_field(
        name in "[!-~ ]{1,40}",
        file in prop::collection::vec(prop::sample::select(b"\r\n-bx\0\xff".to_vec()), 0..200),
        first: bool,
        places in places(),
    ) {
        // A client chooses a boundary that is in none of its fields.
        prop_assume!(!name.trim().is_empty() && !name.contains("--b"));
        prop_assume!(!file.windows(3).any(|w| w == b"--b"));
        let model = format!("--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{name}\r\n").into_bytes();
        let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        let file = [&head[..], &file, b"\r\n"].concat();
        let (one, two) = if first { (model, file) } else { (file, model) };
        let body = [one, two, b"--b--\r\n".to_vec()].concat();
        let found = in_chunks(ModelFinder::multipart("b").unwrap(), split(&body, &places));
        prop_assert_eq!(found, Ok(name));
    }
}

/// Fragments of forms, whole and broken.
const FRAGMENTS: [&str; 16] = [
    "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n",
    "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
    "--b--",
    "\r\n",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n",
    "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n",
    "m",
    "\r",
    "\n",
    "-",
    "--",
    "--b",
    "Content-Disposition: form-data; name=\"model\"",
    "Content-Type: text/plain\r\n",
    "long content that has nothing in it but letters and spaces, for more than one block of bytes",
    "\0",
];
