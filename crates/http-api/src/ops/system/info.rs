//! `GET /info`.

use crate::{
    request::Call,
    respond,
    shape::{self, system::BridgeFilter},
    wire::Body,
};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let info = call.engine.info().await?;
    let bridge = BridgeFilter {
        ipv4: is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        ipv6: is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    };
    Ok(respond::json(StatusCode::OK, &shape::system::info(call.version, &info, bridge)))
}

/// A switch of the kernel; absent when the module is not loaded.
fn is_on(path: &str) -> bool {
    std::fs::read(path).is_ok_and(|text| text.starts_with(b"1"))
}
