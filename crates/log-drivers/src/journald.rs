//! journald, by its native protocol (systemd's `docs/JOURNAL_NATIVE_PROTOCOL.md`): a datagram of fields, or a sealed
//! memfd with them when they do not fit into one.

use crate::Subject;
use crate::driver::Forward;
use gantry_container_logs::Stream;
use gantry_container_logs::feed::Line;
use gantry_linux::{memfd, seqpacket};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/run/systemd/journal/socket";

/// One container's entries.
pub(crate) struct Journald {
    socket: Option<UnixDatagram>,
    /// The fields that are the same in every entry, encoded.
    fields: Vec<u8>,
    container_id: String,
}

impl Journald {
    pub(crate) fn new(subject: &Subject) -> Self {
        let mut fields = Vec::new();
        append(&mut fields, "CONTAINER_ID", subject.short_id().as_bytes());
        append(&mut fields, "CONTAINER_ID_FULL", subject.container_id.as_bytes());
        append(&mut fields, "CONTAINER_NAME", subject.container_name.as_bytes());
        append(&mut fields, "CONTAINER_TAG", subject.tag.as_bytes());
        append(&mut fields, "IMAGE_NAME", subject.image_name.as_bytes());
        append(&mut fields, "SYSLOG_IDENTIFIER", subject.tag.as_bytes());
        for (key, value) in &subject.extra {
            append(&mut fields, &field_name(key), value.as_bytes());
        }
        Self { socket: None, fields, container_id: subject.container_id.clone() }
    }

    fn entry(&self, line: &Line) -> Vec<u8> {
        let mut entry = self.fields.clone();
        append(&mut entry, "PRIORITY", if line.stream == Stream::Stderr { b"3" } else { b"6" });
        let time = gantry_model::Timestamp::from_unix_nanos(line.time.into()).to_string();
        append(&mut entry, "SYSLOG_TIMESTAMP", time.as_bytes());
        if let Some(piece) = line.piece {
            let id = format!("{}-{}", self.container_id, piece.line);
            append(&mut entry, "CONTAINER_PARTIAL_ID", id.as_bytes());
            append(&mut entry, "CONTAINER_PARTIAL_ORDINAL", piece.ordinal.to_string().as_bytes());
            append(&mut entry, "CONTAINER_PARTIAL_LAST", if piece.last { b"true" } else { b"false" });
            if !piece.last {
                append(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        append(&mut entry, "MESSAGE", &line.text);
        entry
    }
}

impl Forward for Journald {
    fn open(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(SOCKET).map_err(|e| io::Error::new(e.kind(), "journald is not enabled on this host"))?;
            self.socket = Some(socket);
        }
        Ok(())
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        self.open()?;
        let socket = self.socket.as_ref().expect("just opened");
        let sent = deliver(socket, &self.entry(line));
        if sent.is_err() {
            // journald was restarted: its socket is another one.
            self.socket = None;
        }
        sent
    }
}

fn deliver(socket: &UnixDatagram, entry: &[u8]) -> io::Result<()> {
    match patiently(socket, entry, &[]) {
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
            let file = memfd::sealed("journal-entry", entry)?;
            patiently(socket, &[], &[file.as_fd()])
        }
        other => other,
    }
}

/// Waits for room: the sending call itself does not.
fn patiently(socket: &UnixDatagram, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        match seqpacket::send(socket.as_fd(), bytes, fds) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
            }
            other => return other,
        }
    }
}

/// A field: `NAME=value`, or with its length when the value has several lines.
fn append(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Upper-case letters, digits and underscores, none of these at the start: what journald accepts from programs.
fn field_name(key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(allowed).collect::<String>().trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_container_logs::feed::Piece;

    #[test]
    fn entries() {
        let subject = Subject {
            container_id: "0123456789abcdef".into(),
            extra: vec![("com.example-x".into(), "a\nb".into())],
            ..Subject::default()
        };
        let journald = Journald::new(&subject);
        let piece = Some(Piece { line: 2, ordinal: 1, last: false });
        let line = Line { stream: Stream::Stdout, time: 5, text: b"hi".to_vec(), piece };
        let entry = journald.entry(&line);
        let text = String::from_utf8_lossy(&entry);
        assert!(text.contains("CONTAINER_ID=0123456789ab\n"), "{text}");
        assert!(text.contains("COM_EXAMPLE_X\n\u{3}\0\0\0\0\0\0\0a\nb\n"), "{text}");
        assert!(text.contains("CONTAINER_PARTIAL_MESSAGE=true\n") && text.ends_with("MESSAGE=hi\n"), "{text}");
    }

    #[test]
    fn an_entry_of_any_size_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let receiver = UnixDatagram::bind(dir.path().join("s")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(dir.path().join("s")).unwrap();
        deliver(&sender, b"MESSAGE=small\n").unwrap();
        deliver(&sender, &vec![b'x'; 4 << 20]).unwrap();
        let mut buf = vec![0; 1024];
        assert_eq!(receiver.recv(&mut buf).unwrap(), 14);
        let packet = seqpacket::recv(receiver.as_fd(), &mut buf).unwrap();
        assert_eq!((packet.len, packet.fds.len()), (0, 1));
        assert_eq!(std::fs::File::from(packet.fds.into_iter().next().unwrap()).metadata().unwrap().len(), 4 << 20);
    }
}
