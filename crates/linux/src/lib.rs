//! Every raw system call and every `unsafe` of Gantry, behind safe functions; one file a topic.
#![allow(unsafe_code)]

pub mod bpf;
pub mod children;
pub mod datagrams;
pub mod descriptors;
#[cfg(feature = "heap")]
pub mod heap;
pub mod inherited;
pub mod inotify;
pub mod local_time;
pub mod memfd;
pub mod mount;
pub mod netlink;
pub mod private_umask;
pub mod probe;
pub mod process;
pub mod program;
pub mod quota;
pub mod seccomp;
pub mod seqpacket;
pub mod signals;
pub mod spawn;
pub mod unread;
