//! The short digest under which an event, its body or its source is remembered.

use sha2::{Digest as _, Sha256};

/// The first 16 bytes of SHA-256 over the parts, each preceded by its length (8 bytes, little endian).
///
/// The lengths keep `["ab", "c"]` and `["a", "bc"]` apart. With 2⁴⁰ digests kept, two different inputs meet with a
/// chance of about 2⁻⁴⁹; an adversary needs 2⁶⁴ work for a collision, and a hit is verified against the log anyway.
pub fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let full: [u8; 32] = hasher.finalize().into();
    let mut short = [0; 16];
    short.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_start_of_sha_256_over_length_and_content() {
        // printf '\x02\0\0\0\0\0\0\0ab\x01\0\0\0\0\0\0\0c' | sha256sum | cut -c1-32
        let number = u128::from_be_bytes(digest(&[b"ab", b"c"]));
        assert_eq!(format!("{number:032x}"), "43ee655579de01ca739b3f95c1c2d3f4");
    }

    #[test]
    fn keeps_parts_apart() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[]), digest(&[b""]));
    }
}
