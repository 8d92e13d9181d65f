//! Every raw system call and every `unsafe` of Gantry, behind safe functions; one file a topic.
#![allow(unsafe_code)]

pub mod netlink;
pub mod seqpacket;
