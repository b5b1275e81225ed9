//! A request's body: read, and unpacked, within limits; what unpacks to more is refused before it does.

use std::io::{self, Read};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::super::problem::Problem;
use super::{Intake, SPACE};

/// What was sent, and the room that it takes.
pub(super) struct Unpacked {
    pub(super) content: Arc<[u8]>,
    pub(super) room: OwnedSemaphorePermit,
}

/// Layers of packing: the transport's, and the file's own.
const LAYERS: usize = 2;

/// Reads a body.
pub(super) async fn read(
    intake: &Intake,
    headers: &HeaderMap,
    body: Body,
) -> Result<Unpacked, Problem> {
    let most = intake.options.body;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large(most));
    }
    // Room is taken before a byte is read. Who does not say how much it is gets room for the most.
    let mut room = intake.room(length.unwrap_or(most))?;
    let bytes = axum::body::to_bytes(body, most)
        .await
        .map_err(|error| unread(&error, most))?;
    check_coding(headers)?;
    if packing(&bytes).is_none() {
        room.merge(intake.room(SPACE * bytes.len())?);
        return Ok(Unpacked {
            content: Arc::from(&bytes[..]),
            room,
        });
    }
    let limit = intake.options.unpacked;
    room.merge(intake.room(SPACE * limit.min(20 * bytes.len()))?);
    let unpacked = tokio::task::spawn_blocking(move || unpack(&bytes, limit));
    let content: Arc<[u8]> = unpacked.await.map_err(Problem::internal)??.into();
    // It was more than most: text of logs packs twenty to one at best.
    if content.len() > room.num_permits() * super::UNIT / SPACE {
        room.merge(intake.room(SPACE * content.len())?);
    }
    Ok(Unpacked { content, room })
}

/// What a sender says of its packing must be what we know; which of them it is, is seen in the bytes.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let known = value.to_str().is_ok_and(|value| {
            value
                .split(',')
                .all(|name| matches!(name.trim(), "" | "identity" | "gzip" | "x-gzip" | "zstd"))
        });
        if !known {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "this `Content-Encoding` is not read")
                .hint("`gzip` and `zstd` are"));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
}

fn packing(bytes: &[u8]) -> Option<Packing> {
    match bytes {
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        _ => None,
    }
}

fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let mut content = bytes.to_vec();
    for _ in 0..LAYERS {
        content = match packing(&content) {
            None => return Ok(content),
            Some(Packing::Gzip) => at_most(flate2::read::MultiGzDecoder::new(&content[..]), limit)?,
            Some(Packing::Zstd) => {
                let decoder = zstd::stream::read::Decoder::new(&content[..]).map_err(damaged)?;
                at_most(decoder, limit)?
            }
        };
    }
    match packing(&content) {
        None => Ok(content),
        Some(_) => Err(Problem::bad_request("it is packed more than twice")),
    }
}

fn at_most(reader: impl Read, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut content = Vec::new();
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut content)
        .map_err(damaged)?;
    match content.len() > limit {
        true => Err(too_large(limit)),
        false => Ok(content),
    }
}

fn damaged(error: io::Error) -> Problem {
    Problem::bad_request(format!("it cannot be unpacked: {error}"))
}

pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "more than is taken at once")
        .detail(format!("{limit} bytes at most"))
        .hint("send it in parts")
}

/// Why a body could not be read: it is too long, its sender is too slow, or has gone.
fn unread(error: &axum::Error, most: usize) -> Problem {
    Problem::of_body(error).unwrap_or_else(|| too_large(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let zeros = vec![b' '; 1 << 20];
        assert_eq!(
            unpack(&gzip(&zeros), 1 << 20).expect("it fits").len(),
            1 << 20
        );
        let packed = zstd::encode_all(&zeros[..], 1).expect("memory");
        for bytes in [gzip(&zeros), gzip(&gzip(&zeros)), packed] {
            let problem = unpack(&bytes, (1 << 20) - 1).expect_err("too large");
            assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
        }
        let thrice = gzip(&gzip(&gzip(b"{}")));
        assert_eq!(
            unpack(&thrice, 1 << 20).expect_err("thrice").status,
            StatusCode::BAD_REQUEST
        );
        let torn = &gzip(&zeros)[..100];
        assert_eq!(
            unpack(torn, 1 << 20).expect_err("torn").status,
            StatusCode::BAD_REQUEST
        );
    }
}
