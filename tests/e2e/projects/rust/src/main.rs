//! A counter over HTTP.

use serde_json::json;
use std::env;
use tiny_http::{Method, Response, Server};

fn main() {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let server = Server::http(format!("0.0.0.0:{port}")).expect("the port is free");
    let mut count: u64 = 0;
    for request in server.incoming_requests() {
        let (status, body) = match (request.method(), request.url()) {
            (Method::Post, "/count") => {
                count += 1;
                (201, json!({ "count": count }))
            }
            (Method::Get, "/count") => (200, json!({ "count": count })),
            _ => (404, json!({ "error": "not found" })),
        };
        // A client that went away has its own reasons.
        let _ = request.respond(Response::from_string(body.to_string()).with_status_code(status));
    }
}
