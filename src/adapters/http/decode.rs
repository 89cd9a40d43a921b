//! Undoes a body's compression, only to look for the model. What is forwarded is what came.

use std::io::{self, Write};

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};

use super::error::ErrorAnswer;

/// What a decompressor may remember, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// The buffer of the brotli decoder, in bytes.
const BROTLI_BUFFER: usize = 4096;

/// Decodes chunk by chunk. What it gives out is bounded.
pub enum Decoder {
    /// gzip (RFC 1952), one member or several.
    Gzip(Box<flate2::write::MultiGzDecoder<Output>>),
    /// deflate as HTTP means it: zlib (RFC 1950).
    Deflate(Box<flate2::write::ZlibDecoder<Output>>),
    /// brotli (RFC 7932).
    Brotli(Box<brotli::DecompressorWriter<Output>>),
    /// zstd (RFC 8878).
    Zstd(Box<zstd::stream::write::Decoder<'static, Output>>),
}

/// Takes what was decoded; refuses what is over the bound.
pub struct Output {
    sink: Vec<u8>,
    room: usize,
}

/// Why a chunk could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// More comes out of it than may.
    TooLarge,
    /// It is not what its encoding says.
    Invalid,
}

impl Decoder {
    /// The decoder that the headers ask for; `None` for a body that is not compressed. It gives out at most `limit`
    /// bytes.
    ///
    /// # Errors
    /// An encoding that is not known, or several.
    pub fn for_headers(headers: &HeaderMap, limit: usize) -> Result<Option<Self>, ErrorAnswer> {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(value), None) = (encodings.next(), encodings.next()) else {
            return match headers.contains_key(CONTENT_ENCODING) {
                true => Err(unsupported()),
                false => Ok(None),
            };
        };
        let output = Output { sink: Vec::new(), room: limit };
        let name = value.to_str().map_err(|_| unsupported())?.trim().to_ascii_lowercase();
        Ok(Some(match name.as_str() {
            "" | "identity" => return Ok(None),
            "gzip" | "x-gzip" => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(output))),
            "deflate" => Self::Deflate(Box::new(flate2::write::ZlibDecoder::new(output))),
            "br" => Self::Brotli(Box::new(brotli::DecompressorWriter::new(output, BROTLI_BUFFER))),
            "zstd" => Self::Zstd(Box::new(zstd_decoder(output).map_err(|_| unsupported())?)),
            _ => return Err(unsupported()),
        }))
    }

    /// Decodes the next chunk and hands what comes out to `found`.
    ///
    /// # Errors
    /// [`DecodeError`]; the decoder is of no more use then.
    pub fn decode<T>(&mut self, chunk: &[u8], found: impl FnOnce(&[u8]) -> T) -> Result<T, DecodeError> {
        let written = match self {
            Self::Gzip(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Self::Deflate(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
            Self::Brotli(decoder) => decoder.write_all(chunk),
            Self::Zstd(decoder) => decoder.write_all(chunk).and_then(|()| decoder.flush()),
        };
        let output = self.output();
        match written {
            Err(_) if output.room == 0 => Err(DecodeError::TooLarge),
            Err(_) => Err(DecodeError::Invalid),
            Ok(()) => {
                let result = found(&output.sink);
                // Kept for the next chunk, unless a burst made it large.
                output.sink.clear();
                output.sink.shrink_to(BROTLI_BUFFER);
                Ok(result)
            }
        }
    }

    fn output(&mut self) -> &mut Output {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

fn zstd_decoder(output: Output) -> io::Result<zstd::stream::write::Decoder<'static, Output>> {
    let mut decoder = zstd::stream::write::Decoder::new(output)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

impl Write for Output {
    fn write(&mut self, decoded: &[u8]) -> io::Result<usize> {
        if decoded.len() > self.room {
            self.room = 0;
            return Err(io::Error::other("over the bound"));
        }
        self.room -= decoded.len();
        self.sink.extend_from_slice(decoded);
        Ok(decoded.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unsupported() -> ErrorAnswer {
    let message = "the body's Content-Encoding cannot be read; use gzip, deflate, br or zstd, or none";
    ErrorAnswer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_body", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

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
                brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(text).unwrap();
                out
            }
            _ => zstd::stream::encode_all(text, 3).unwrap(),
        }
    }

    fn decoder(encoding: &'static str, limit: usize) -> Decoder {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
        Decoder::for_headers(&headers, limit).unwrap().unwrap()
    }

    #[test]
    fn every_encoding_is_decoded_however_it_is_cut() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let body = compressed(encoding, TEXT);
            for size in [1, 3, body.len()] {
                let (mut decoder, mut text) = (decoder(encoding, 1000), Vec::new());
                for chunk in body.chunks(size) {
                    decoder.decode(chunk, |out| text.extend_from_slice(out)).unwrap();
                }
                assert_eq!(text, TEXT, "{encoding} in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let body = compressed(encoding, &vec![b' '; 10 << 20]);
            let mut decoder = decoder(encoding, 1 << 20);
            let error = body.chunks(512).find_map(|chunk| decoder.decode(chunk, |_| ()).err());
            assert_eq!(error, Some(DecodeError::TooLarge), "{encoding}");
        }
    }

    #[test]
    fn what_is_not_what_it_says_is_invalid() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let mut decoder = decoder(encoding, 1000);
            assert_eq!(decoder.decode(b"{\"model\":\"m\"}........", |_| ()), Err(DecodeError::Invalid), "{encoding}");
        }
    }
}
