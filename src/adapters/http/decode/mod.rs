//! Undoes a body's compression, only to look for the model. What is forwarded is what came.
//!
//! A few bytes may decode to gigabytes and ask for windows of megabytes. So a body is decoded in slices, between which
//! others get their turn, and what a decoder holds is charged to the total of what is held.

mod brotli;
mod gzip;
mod zstd;

use std::io::Write;
use std::sync::Arc;

use flate2::write::ZlibDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};

use super::buffer::{BufferBudget, Share};
use super::error::ErrorResponse;
use brotli::Brotli;
use gzip::Gzip;
use zstd::Zstd;

/// How much of a body is decoded at once, in bytes before and after. What is decoded by gzip and deflate may be some times
/// as much.
const SLICE_IN: usize = 4 * 1024;
const SLICE_OUT: usize = 16 * 1024;
/// What a decoder of gzip or deflate holds: its state with a window of 32 KiB, and a buffer of the same size.
const INFLATE_BYTES: usize = 80 * 1024;
/// What a decoder of brotli holds beside what it asks for: its state.
const STATE_BYTES: usize = 8 * 1024;

/// Codings that are known but not read. Any other name is not a coding: some clients say `UTF-8` or `none`.
const NOT_READ: [&str; 28] = [
    "compress",
    "x-compress",
    "exi",
    "pack200-gzip",
    "aes128gcm",
    "dcb",
    "dcz",
    "lzma",
    "x-lzma",
    "xz",
    "x-xz",
    "bzip2",
    "x-bzip2",
    "bz2",
    "lz4",
    "x-lz4",
    "snappy",
    "x-snappy",
    "x-snappy-framed",
    "sdch",
    "zip",
    "zlib",
    "x-deflate",
    "brotli",
    "x-br",
    "x-zstd",
    "base64",
    "aws-chunked",
];

/// Decodes slice by slice. What it gives out is bounded.
pub struct Decoder {
    codec: Codec,
    /// What decoders write to that do not bring a buffer of their own.
    buffer: Vec<u8>,
    /// How much more may come out.
    room: usize,
    share: Share,
}

enum Codec {
    Gzip(Box<Gzip>),
    Deflate(Box<ZlibDecoder<Vec<u8>>>),
    Brotli(Brotli),
    Zstd(Zstd),
}

/// What one slice took and gave.
#[derive(Debug, Default)]
struct Step {
    taken: usize,
    given: usize,
    /// More comes out without anything going in.
    holds_more: bool,
}

/// Why a chunk could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// More comes out of it than may.
    TooLarge,
    /// It is not what its encoding says.
    Invalid,
    /// All requests together hold as much as they may.
    NoRoom,
}

impl Decoder {
    /// The decoder that the headers ask for; `None` for a body that is not compressed. It gives out at most `limit`
    /// bytes, and charges what it holds to the total.
    ///
    /// # Errors
    /// An encoding that is known but not read, or several.
    pub fn for_headers(
        headers: &HeaderMap,
        limit: usize,
        total: &Arc<BufferBudget>,
    ) -> Result<Option<Self>, ErrorResponse> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let mut codec = None;
        for token in values.flat_map(|value| value.as_bytes().split(|b| *b == b',')) {
            let name = token.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let one = match name.as_str() {
                "gzip" | "x-gzip" => Codec::Gzip(Box::new(Gzip::new())),
                "deflate" => Codec::Deflate(Box::new(ZlibDecoder::new(Vec::new()))),
                "br" => Codec::Brotli(Brotli::new(total)),
                "zstd" => Codec::Zstd(Zstd::new().map_err(|_| ErrorResponse::overloaded())?),
                name if NOT_READ.contains(&name) => return Err(unsupported()),
                _ => continue,
            };
            if codec.replace(one).is_some() {
                return Err(unsupported());
            }
        }
        Ok(codec.map(|codec| {
            let buffer = match codec {
                Codec::Brotli(_) | Codec::Zstd(_) => vec![0; SLICE_OUT],
                Codec::Gzip(_) | Codec::Deflate(_) => Vec::new(),
            };
            Self { codec, buffer, room: limit, share: Share::of(total) }
        }))
    }

    /// Decodes the next slice, takes what it decoded off the front of `chunk`, and hands what comes out to `found`. Says
    /// beside the result whether there is more to decode, of the chunk or of what is still in the decoder.
    ///
    /// # Errors
    /// [`DecodeError`]; the decoder is of no more use then.
    pub fn decode<T>(&mut self, chunk: &mut &[u8], found: impl FnOnce(&[u8]) -> T) -> Result<(T, bool), DecodeError> {
        let slice = chunk.get(..SLICE_IN).unwrap_or(chunk);
        let step = match &mut self.codec {
            Codec::Gzip(gzip) => gzip.step(slice)?,
            Codec::Deflate(deflate) => inflate(deflate, slice)?,
            Codec::Brotli(brotli) => brotli.step(slice, &mut self.buffer)?,
            Codec::Zstd(zstd) => zstd.step(slice, &mut self.buffer)?,
        };
        if !self.share.resize(self.memory()) {
            return Err(DecodeError::NoRoom);
        }
        self.room = self.room.checked_sub(step.given).ok_or(DecodeError::TooLarge)?;
        *chunk = chunk.get(step.taken..).unwrap_or_default();
        let output = match &self.codec {
            Codec::Gzip(gzip) => gzip.output(),
            Codec::Deflate(deflate) => deflate.get_ref(),
            Codec::Brotli(_) | Codec::Zstd(_) => &self.buffer,
        };
        let result = found(output.get(..step.given).unwrap_or_default());
        Ok((result, step.holds_more || !chunk.is_empty()))
    }

    /// What it holds, but for what brotli charges by itself.
    fn memory(&self) -> usize {
        self.buffer.capacity()
            + match &self.codec {
                Codec::Gzip(gzip) => gzip.memory(),
                Codec::Deflate(deflate) => INFLATE_BYTES + deflate.get_ref().capacity(),
                Codec::Brotli(_) => STATE_BYTES,
                Codec::Zstd(zstd) => zstd.memory(),
            }
    }
}

/// Decodes a slice of deflate as HTTP means it: zlib (RFC 1950).
fn inflate(decoder: &mut ZlibDecoder<Vec<u8>>, slice: &[u8]) -> Result<Step, DecodeError> {
    decoder.get_mut().clear();
    let taken = decoder.write(slice).map_err(|_| DecodeError::Invalid)?;
    if taken == slice.len() {
        decoder.flush().map_err(|_| DecodeError::Invalid)?;
    } else if taken == 0 {
        // Something stands behind the end.
        return Err(DecodeError::Invalid);
    }
    Ok(Step { taken, given: decoder.get_ref().len(), holds_more: false })
}

fn unsupported() -> ErrorResponse {
    let message = "the body's Content-Encoding cannot be read; use gzip, deflate, br or zstd, or none";
    ErrorResponse::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_body", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ENCODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
    const TEXT: &[u8] = br#"{"messages":[],"model":"org/name"}"#;

    fn compressed(encoding: &str, text: &[u8]) -> Vec<u8> {
        match encoding {
            "gzip" => {
                let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                e.write_all(text).unwrap();
                e.finish().unwrap()
            }
            "deflate" => {
                let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                e.write_all(text).unwrap();
                e.finish().unwrap()
            }
            "br" => {
                let mut out = Vec::new();
                ::brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(text).unwrap();
                out
            }
            _ => ::zstd::stream::encode_all(text, 3).unwrap(),
        }
    }

    fn decoder(encoding: &'static str, limit: usize, total: &Arc<BufferBudget>) -> Decoder {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
        Decoder::for_headers(&headers, limit, total).unwrap().unwrap()
    }

    /// Decodes all of these chunks, and says how many slices that took.
    fn all(
        decoder: &mut Decoder,
        chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
        mut found: impl FnMut(&[u8]),
    ) -> Result<usize, DecodeError> {
        let mut slices = 0;
        for chunk in chunks {
            let mut rest = chunk.as_ref();
            while {
                slices += 1;
                decoder.decode(&mut rest, &mut found)?.1
            } {}
        }
        Ok(slices)
    }

    /// Bytes that cannot be made much shorter.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    }

    fn unbounded() -> Arc<BufferBudget> {
        BufferBudget::new(usize::MAX)
    }

    #[test]
    fn every_encoding_is_decoded_however_it_is_cut() {
        for encoding in ENCODINGS {
            let body = compressed(encoding, TEXT);
            for size in [1, 3, body.len()] {
                let (mut decoder, mut text) = (decoder(encoding, 1000, &unbounded()), Vec::new());
                all(&mut decoder, body.chunks(size), |out| text.extend_from_slice(out)).unwrap();
                assert_eq!(text, TEXT, "{encoding} in pieces of {size}");
            }
        }
    }

    #[test]
    fn several_members_and_frames_are_one_body() {
        for encoding in ["gzip", "zstd"] {
            let body = [compressed(encoding, b""), compressed(encoding, &TEXT[..9]), compressed(encoding, &TEXT[9..])];
            let body = [body.concat(), compressed(encoding, b"")].concat();
            for size in [1, 7, body.len()] {
                let (mut decoder, mut text) = (decoder(encoding, 1000, &unbounded()), Vec::new());
                all(&mut decoder, body.chunks(size), |out| text.extend_from_slice(out)).unwrap();
                assert_eq!(text, TEXT, "{encoding} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        for encoding in ENCODINGS {
            let body = compressed(encoding, &vec![b' '; 10 << 20]);
            let mut decoder = decoder(encoding, 1 << 20, &unbounded());
            assert_eq!(all(&mut decoder, body.chunks(512), |_| ()), Err(DecodeError::TooLarge), "{encoding}");
        }
    }

    #[test]
    fn a_slice_gives_little_whatever_goes_in() {
        for encoding in ENCODINGS {
            let text = vec![b' '; 4 << 20];
            let body = compressed(encoding, &text);
            let (mut decoder, mut most, mut sum) = (decoder(encoding, usize::MAX, &unbounded()), 0, 0);
            let slices = all(&mut decoder, [&body], |out| {
                most = most.max(out.len());
                sum += out.len();
            });
            assert_eq!(sum, text.len(), "{encoding}");
            assert!(most <= 8 * SLICE_OUT, "{encoding}: {most} bytes at once");
            assert!(slices.unwrap() >= text.len() / (8 * SLICE_OUT), "{encoding}");
        }
        // What gives nothing is cut into slices, too.
        let empty = compressed("gzip", b"").repeat(1000);
        let slices = all(&mut decoder("gzip", 0, &unbounded()), [&empty], |out| assert!(out.is_empty()));
        assert!(slices.unwrap() >= empty.len() / SLICE_IN);
    }

    #[test]
    fn what_a_decoder_holds_is_charged_until_it_is_dropped() {
        for encoding in ENCODINGS {
            let total = unbounded();
            let body = compressed(encoding, &noise(8 << 20));
            let mut decoder = decoder(encoding, usize::MAX, &total);
            all(&mut decoder, [&body[..body.len() - 100]], |_| ()).unwrap();
            let charged = total.charged();
            // brotli and zstd keep windows of megabytes.
            let expected = if matches!(encoding, "br" | "zstd") { 2 << 20 } else { INFLATE_BYTES };
            assert!(charged >= expected, "{encoding}: {charged} bytes are charged");
            assert!(charged <= 20 << 20, "{encoding}: {charged} bytes are charged");
            drop(decoder);
            assert_eq!(total.charged(), 0, "{encoding}");
        }
    }

    #[test]
    fn a_decoder_without_room_is_refused_wherever_it_asks_for_more() {
        for encoding in ENCODINGS {
            let body = compressed(encoding, &noise(1 << 20));
            let (mut limit, mut refused) = (0, 0);
            loop {
                let total = BufferBudget::new(limit);
                let end = all(&mut decoder(encoding, usize::MAX, &total), [&body], |_| ());
                assert_eq!(total.charged(), 0, "{encoding} with {limit}");
                match end {
                    Err(error) => assert_eq!(error, DecodeError::NoRoom, "{encoding} with {limit}"),
                    Ok(_) => break,
                }
                refused += 1;
                limit += if limit < 64 << 10 { 509 } else { 64 << 10 };
            }
            assert!(refused > 50 && limit < 24 << 20, "{encoding}: {refused} refused, {limit} bytes are enough");
        }
    }

    #[test]
    fn the_header_of_a_gzip_member_is_charged() {
        let total = unbounded();
        let mut decoder = decoder("gzip", 1000, &total);
        let name = vec![b'n'; 60_000];
        let head = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &name].concat();
        all(&mut decoder, [head], |_| ()).unwrap();
        assert!(total.charged() > INFLATE_BYTES + name.len(), "{}", total.charged());
    }

    #[test]
    fn what_is_not_what_it_says_is_invalid() {
        for encoding in ENCODINGS {
            let mut one = decoder(encoding, 1000, &unbounded());
            let invalid = Err(DecodeError::Invalid);
            assert_eq!(all(&mut one, [b"{\"model\":\"m\"}........"], |_| ()), invalid, "{encoding}");
            let mut one = decoder(encoding, 1000, &unbounded());
            let body = [compressed(encoding, TEXT), b"behind it all".to_vec()].concat();
            for size in [1, body.len()] {
                assert_eq!(all(&mut one, body.chunks(size), |_| ()), invalid, "{encoding} in pieces of {size}");
                one = decoder(encoding, 1000, &unbounded());
            }
        }
    }
}
