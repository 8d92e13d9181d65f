//! Removing a link without waiting until the kernel has freed it.

use super::message::Verdict;
use super::route::delete_link_by_index;
use super::socket::receive;
use super::{Batch, ECHO, Error, Messages, Socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;
use std::thread;

/// `RTM_DELLINK`
const DELETED: u16 = 17;

/// Removes a link and comes back as soon as nobody can find it any more. The request itself takes 30 ms longer, until
/// no processor can have the link in its hands; meanwhile the kernel lets others make and change links, so that nobody
/// needs to wait for that but a thread. Kernels before 6.2 do not tell (`NLM_F_ECHO`): there it is waited for.
///
/// The socket is for this alone.
pub fn unlist_link(mut socket: Socket, index: u32) -> Result<(), Error> {
    let mut batch = Batch::new();
    delete_link_by_index(&mut batch, index);
    batch.flag_last(ECHO);
    let told = socket.descriptor().try_clone_to_owned()?;
    // Closed when the request is over.
    let (over, end) = io::pipe()?;
    let request = thread::Builder::new().name("link-remover".to_owned()).spawn(move || {
        let _end = end;
        socket.transmit(&mut batch).map(drop)
    })?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let mut waited = [PollFd::new(&told, PollFlags::IN), PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN)];
        match poll(&mut waited, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let is_over = !waited[1].revents().is_empty();
        while let Some(datagram) = receive(&told, &mut buffer)? {
            for message in Messages::new(datagram) {
                match message.verdict() {
                    Verdict::Data if message.kind != DELETED => {}
                    Verdict::Data | Verdict::Success => return Ok(()),
                    Verdict::Failure(errno, reason) => {
                        return Err(Error::Refused(super::socket::refusal(0, errno, reason)));
                    }
                }
            }
        }
        // What the kernel has to say, it said before the request was over.
        if is_over {
            request.join().map_err(|_| io::Error::other("the request broke off"))??;
            return Err(io::Error::other("the kernel's answer got lost").into());
        }
    }
}
