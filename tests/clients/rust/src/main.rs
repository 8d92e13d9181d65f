//! Docker's client for Rust as a judge: `bollard-suite CASE IMAGE VERSION`, with the engine in `DOCKER_HOST`.
//! A case ends with success, or with a panic that says what was wrong.

mod cases;
mod kit;

use kit::Kit;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, image, version] = arguments.as_slice() else {
        panic!("usage: bollard-suite CASE IMAGE VERSION");
    };
    let kit = Kit::connect(image, version).await;
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, cases::run(case, &kit)).await.expect("the case ends in time");
}
