//! Multibase text of keys (KEY-3, KEY-4).

use super::Curve;
use crate::Invalid;

/// Longest text that is decoded: base58 takes quadratic time. The longest valid one has 90.
const TEXT_MAX: usize = 200;
/// Multicodec prefixes as varints.
const P256_CODEC: [u8; 2] = [0x80, 0x24];
const K256_CODEC: [u8; 2] = [0xe7, 0x01];

/// A point as it was written; not checked to be on a curve.
pub(super) enum RawPoint {
    Compressed([u8; 33]),
    Uncompressed([u8; 65]),
}

pub(super) fn decode_multikey(text: &str) -> Result<(Curve, [u8; 33]), Invalid> {
    let mut buffer = [0; 65];
    let bytes = decode_base58(text, &mut buffer)?;
    let Some((codec, point)) = bytes.split_first_chunk::<2>() else { return Err(WRONG_LENGTH) };
    let curve = match *codec {
        P256_CODEC => Curve::P256,
        K256_CODEC => Curve::K256,
        _ => return Err(Invalid::new("the key has an unknown codec")),
    };
    Ok((curve, point.try_into().map_err(|_length| WRONG_LENGTH)?))
}

pub(super) fn decode_point(text: &str) -> Result<RawPoint, Invalid> {
    let mut buffer = [0; 65];
    let bytes = decode_base58(text, &mut buffer)?;
    if let Ok(point) = bytes.try_into() {
        return Ok(RawPoint::Compressed(point));
    }
    bytes.try_into().map(RawPoint::Uncompressed).map_err(|_length| WRONG_LENGTH)
}

pub(super) fn encode_multikey(curve: Curve, point: &[u8; 33]) -> String {
    let codec = match curve {
        Curve::P256 => P256_CODEC,
        Curve::K256 => K256_CODEC,
    };
    let mut bytes = [0; 35];
    for (to, from) in bytes.iter_mut().zip(codec.iter().chain(point)) {
        *to = *from;
    }
    let mut text = String::with_capacity(49);
    text.push('z');
    text.push_str(&bs58::encode(bytes).into_string());
    text
}

const WRONG_LENGTH: Invalid = Invalid::new("the key has a wrong length");

fn decode_base58<'b>(text: &str, buffer: &'b mut [u8; 65]) -> Result<&'b [u8], Invalid> {
    if text.len() > TEXT_MAX {
        return Err(WRONG_LENGTH);
    }
    let Some(digits) = text.strip_prefix('z') else {
        return Err(Invalid::new("the key is not base58btc multibase"));
    };
    let length = bs58::decode(digits).onto(buffer.as_mut_slice()).map_err(|error| match error {
        bs58::decode::Error::BufferTooSmall => WRONG_LENGTH,
        _ => Invalid::new("the key is not base58"),
    })?;
    buffer.get(..length).ok_or(WRONG_LENGTH)
}
