//! SHA-1 (RFC 3174), which the handshake of WebSockets has for a greeting and not for safety.

/// The digest of `message`.
pub(super) fn digest(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64) + if padded.len() % 64 > 56 { 64 } else { 0 }, 0);
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        absorb(&mut state, block);
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn absorb(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for t in 16..80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
    }
    let mut round = *state;
    for (t, word) in words.into_iter().enumerate() {
        let [first, x, y, z, last] = round;
        let (mixed, constant) = match t {
            0..20 => ((x & y) | (!x & z), 0x5A82_7999),
            20..40 => (x ^ y ^ z, 0x6ED9_EBA1),
            40..60 => ((x & y) | (x & z) | (y & z), 0x8F1B_BCDC),
            _ => (x ^ y ^ z, 0xCA62_C1D6_u32),
        };
        let next = first.rotate_left(5).wrapping_add(mixed).wrapping_add(last).wrapping_add(word);
        round = [next.wrapping_add(constant), first, x.rotate_left(30), y, z];
    }
    for (sum, part) in state.iter_mut().zip(round) {
        *sum = sum.wrapping_add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn known_digests() {
        let hex =
            |message: &[u8]| digest(message).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(long), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&vec![b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        for length in 50..70 {
            assert_ne!(digest(&vec![0; length]), digest(&vec![0; length + 1]));
        }
    }
}
