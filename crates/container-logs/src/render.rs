//! How a record is sent to a client.

use crate::record::{Record, unescape};
use crate::{ReadOptions, attrs, timestamp};

/// Appends the record as [`ReadOptions`] ask for it: `time attrs text`, in a frame or bare.
pub(crate) fn append(out: &mut Vec<u8>, record: &Record<'_>, options: &ReadOptions) {
    let start = out.len();
    if options.framed {
        out.extend_from_slice(&[0; 8]);
    }
    if options.timestamps {
        timestamp::append_fixed(out, record.time);
        out.push(b' ');
    }
    if options.details {
        attrs::append_details(out, record.attrs);
        out.push(b' ');
    }
    unescape(out, record.log);
    if options.framed {
        // A line is bounded by the reader's buffer, far below 4 GiB.
        let header = record.stream.frame_header((out.len() - start - 8) as u32);
        out[start..start + 8].copy_from_slice(&header);
    }
}
