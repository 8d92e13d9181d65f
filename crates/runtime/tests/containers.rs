//! Real containers, as root: what a program finds itself in.

mod common;

use common::{Fixture, run_cases};

fn a_program_runs_and_its_status_is_known() {
    let (status, out, err) = Fixture::sh("echo out; echo err >&2; exit 7").run().expect("started");
    assert_eq!((status, out.as_str(), err.as_str()), (7, "out\n", "err\n"));
}

fn main() {
    run_cases(&[("a_program_runs_and_its_status_is_known", a_program_runs_and_its_status_is_known)]);
}
