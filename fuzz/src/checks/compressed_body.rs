//! What must hold of the search for the model in a compressed body. The first byte of an input names the encoding and
//! says whether the rest is a compressed body or the text of one that is still to be compressed; the second says how
//! the body is cut into chunks.

use std::io::{Read, Write};

use body_model::ModelFinder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use lw_inference_proxy::adapters::http::buffer::BufferBudget;
use lw_inference_proxy::adapters::http::buffered_body::{Search, SearchError};
use lw_inference_proxy::adapters::http::decode::{DecodeError, Decoder};

/// The most that is decoded of one body here.
const DECODED_MAX_BYTES: usize = 64 * 1024;
/// The window of the zstd judge, which is the proxy's own: larger ones are refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const BUFFER: usize = 4096;
const ENCODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// However it is cut, a body is decoded to the same text, which never grows over the bound, and its model is that of
/// the text as other decoders give it.
pub fn compressed_body(input: &[u8]) {
    let &[kind, size, ref rest @ ..] = input else {
        return;
    };
    let encoding = ENCODINGS[usize::from(kind) % ENCODINGS.len()];
    let size = usize::from(size).max(1);
    match kind & 4 == 0 {
        true => foreign(encoding, rest, size),
        false => of_text(encoding, &rest[..rest.len().min(DECODED_MAX_BYTES)], size),
    }
}

/// A body that anybody may have made.
fn foreign(encoding: &str, body: &[u8], size: usize) {
    let whole = decoded(encoding, DECODED_MAX_BYTES, [body]);
    let shown = body.escape_ascii();
    for size in [1, size] {
        let pieces = decoded(encoding, DECODED_MAX_BYTES, body.chunks(size));
        match whole.1 {
            Ok(()) => assert_eq!(pieces, whole, "{encoding} in pieces of {size}: {shown}"),
            // What a piece gives is lost with the piece that fails, so less of it may come out.
            Err(_) => assert!(pieces.1.is_err(), "{encoding} in pieces of {size}: {shown}"),
        }
        assert_eq!(model(encoding, body.chunks(size)).ok(), model(encoding, [body]).ok(), "{encoding}: {shown}");
    }
    let (judged, is_whole) = judged(encoding, body);
    // Brotli's reader does not tell whether more stands behind the end; the writer refuses that.
    if is_whole && encoding != "br" {
        assert_eq!(whole.1, Ok(()), "a good body is refused: {encoding}: {shown}");
    }
    if whole.1.is_ok() && is_whole {
        assert_eq!(whole.0, judged, "{encoding}: {shown}");
        assert_eq!(model(encoding, [body]).ok(), model_of_text(&judged).ok(), "{encoding}: {shown}");
    }
}

/// A body that an encoder made of this text.
fn of_text(encoding: &str, text: &[u8], size: usize) {
    let body = encoded(encoding, text);
    let shown = text.escape_ascii();
    for size in [1, size, body.len()] {
        let chunks = || body.chunks(size.max(1));
        assert_eq!(decoded(encoding, text.len(), chunks()), (text.to_vec(), Ok(())), "{encoding}: {shown}");
        assert_eq!(model(encoding, chunks()), model_of_text(text), "{encoding}: {shown}");
        if let Some(limit) = text.len().checked_sub(1) {
            let (_, end) = decoded(encoding, limit, chunks());
            assert_eq!(end, Err(DecodeError::TooLarge), "{encoding}: {shown}");
        }
    }
    // A body that is cut off gives the beginning of its text.
    let (beginning, end) = decoded(encoding, DECODED_MAX_BYTES, [&body[..body.len() / 2]]);
    assert!(text.starts_with(&beginning) && end.is_ok(), "{encoding}: {shown}");
}

/// What the decoder gives of a body until its end or its first error.
fn decoded<'a>(
    encoding: &str,
    limit: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = decoder(encoding, limit);
    let mut text = Vec::new();
    for chunk in chunks {
        let mut rest = chunk;
        loop {
            match decoder.decode(&mut rest, |more| text.extend_from_slice(more)) {
                Ok((_, true)) => {}
                Ok((_, false)) => break,
                Err(error) => {
                    assert!(text.len() <= limit);
                    return (text, Err(error));
                }
            }
        }
    }
    assert!(text.len() <= limit);
    (text, Ok(()))
}

/// What the search makes of a body: its model, or what is wrong with it.
fn model<'a>(encoding: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<String, String> {
    let mut search = Search { finder: ModelFinder::json(), decoder: Some(decoder(encoding, DECODED_MAX_BYTES)) };
    for chunk in chunks {
        let mut rest = chunk;
        while search.step(&mut rest).map_err(|error| match error {
            SearchError::Find(error) => error.to_string(),
            SearchError::Decode(error) => format!("{error:?}"),
        })? {}
    }
    found(search.finder)
}

fn model_of_text(text: &[u8]) -> Result<String, String> {
    let mut finder = ModelFinder::json();
    finder.feed(text).map_err(|error| error.to_string())?;
    found(finder)
}

fn found(mut finder: ModelFinder) -> Result<String, String> {
    finder.finish().map_err(|error| error.to_string())?;
    Ok(finder.model().expect("finish checked it").to_string())
}

fn decoder(encoding: &str, limit: usize) -> Decoder {
    let value = HeaderValue::from_str(encoding).expect("an encoding's name is a value");
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value)]);
    Decoder::for_headers(&headers, limit, &BufferBudget::new(usize::MAX)).ok().flatten().expect("the encoding is known")
}

/// What the readers, not the writers, of these libraries give of a body, and whether that is all of it.
fn judged(encoding: &str, body: &[u8]) -> (Vec<u8>, bool) {
    match encoding {
        "gzip" => all_of(&mut flate2::read::MultiGzDecoder::new(body)),
        "deflate" => {
            let mut decoder = flate2::read::ZlibDecoder::new(body);
            let (text, is_whole) = all_of(&mut decoder);
            (text, is_whole && decoder.total_in() == body.len() as u64)
        }
        "br" => all_of(&mut brotli::Decompressor::new(body, BUFFER)),
        _ => {
            let mut decoder = zstd::stream::read::Decoder::new(body).expect("it is made");
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).expect("the bound is one");
            all_of(&mut decoder)
        }
    }
}

fn all_of(reader: &mut dyn Read) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    let end = reader.take(DECODED_MAX_BYTES as u64 + 1).read_to_end(&mut text);
    let is_whole = end.is_ok() && text.len() <= DECODED_MAX_BYTES;
    (text, is_whole)
}

fn encoded(encoding: &str, text: &[u8]) -> Vec<u8> {
    let written = match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), BUFFER, 1, 16);
            encoder.write_all(text).map(|()| encoder.into_inner())
        }
        _ => zstd::bulk::compress(text, 1),
    };
    written.expect("cache takes everything")
}
