//! The cases by name.

mod builds;
mod containers;
mod execs;
mod images;
mod networks;
mod output;
mod system;
mod volumes;

use crate::kit::Kit;

/// `name => function` for each case.
macro_rules! cases {
    ($case:expr, $kit:expr, $($name:literal => $function:path),* $(,)?) => {
        match $case {
            $($name => $function($kit).await,)*
            "list" => { $(println!($name);)* }
            other => panic!("no case {other:?}"),
        }
    };
}

pub async fn run(case: &str, kit: &Kit) {
    cases!(case, kit,
        "archive" => containers::archive,
        "attach" => output::attach,
        "attach_terminal" => output::attach_terminal,
        "builds" => builds::builds,
        "changes_export_top" => containers::changes_export_top,
        "errors" => containers::errors,
        "events" => system::events,
        "exec" => execs::exec,
        "exec_many" => execs::many,
        "exec_terminal" => execs::terminal,
        "health" => containers::health,
        "images" => images::images,
        "images_in_and_out" => images::in_and_out,
        "lifecycle" => containers::lifecycle,
        "list_and_prune" => containers::list_and_prune,
        "logs" => output::logs,
        "networks" => networks::networks,
        "networks_of_users" => networks::of_users,
        "options" => containers::options,
        "stats" => output::stats,
        "system" => system::system,
        "update" => containers::update,
        "volumes" => volumes::volumes,
    );
}
