//! The operations, a file each or a small family.

pub(crate) mod commit;
pub(crate) mod container;
pub(crate) mod distribution;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod system;
pub(crate) mod volume;

use crate::{request::Call, wire::Answer};
use gantry_engine::AttachSession;
use gantry_model::Result;
use std::{future::Future, pin::Pin};

/// What a handler gives that may take the connection over.
type TakeoverOutcome = Pin<Box<dyn Future<Output = Result<Answer<AttachSession>>> + Send>>;

/// A handler that may take the connection over.
type Takeover = fn(Call) -> TakeoverOutcome;

/// `POST` operations that may take the connection over.
pub(crate) static TAKEOVERS: &[(&str, Takeover)] = &[
    ("/containers/{}/attach", |call| Box::pin(container::attach::post(call))),
    ("/exec/{}/start", |call| Box::pin(exec::start::post(call))),
];

/// The type of a stream without frames.
const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// The type of a stream with frames, as clients since API 1.42 know it.
const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
