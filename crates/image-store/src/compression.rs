//! Compressed streams: which it is, and how to read it.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read};

/// Memory that a hostile xz stream may ask for.
const XZ_MEMORY: u64 = 512 << 20;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Bytes that [`Compression::detect`] looks at.
    pub const MAGIC: usize = 6;

    /// Recognises a stream by how it begins.
    pub fn detect(start: &[u8]) -> Self {
        // Skippable zstd frames have 16 magic numbers.
        let skippable = matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ if skippable => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The layer's media type. There is none for bzip2 and xz; the suffix follows the pattern of the others.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Bzip2 => "application/vnd.oci.image.layer.v1.tar+bzip2",
            Self::Xz => "application/vnd.oci.image.layer.v1.tar+xz",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// What the stream holds. Streams of several members are read to their end, as the command-line programs do.
    pub fn decoder<'r>(self, stream: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::None => Box::new(stream),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
            Self::Xz => {
                let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stream)?),
        })
    }
}
