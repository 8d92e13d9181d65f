//! Names, removal, conflicts, and what stays while it is needed.

mod common;

use common::{Bench, small};
use gantry_image_store::{Deleted, ImageId, ImageStore, InUse, RemoveOptions};
use gantry_model::{Error, ErrorKind, Id};

const GENTLY: RemoveOptions = RemoveOptions { force: false, prune: true };
const FORCED: RemoveOptions = RemoveOptions { force: true, prune: true };

fn unused(_: &ImageId) -> InUse {
    InUse::None
}

fn shown(deleted: &[Deleted]) -> Vec<String> {
    let one = |d: &Deleted| match d {
        Deleted::Untagged { name, .. } => format!("untagged {name}"),
        Deleted::Image(id) => format!("image {id}"),
        Deleted::Layer(_) => "layer".to_owned(),
    };
    deleted.iter().map(one).collect()
}

fn remove(store: &ImageStore, name: &str, options: RemoveOptions) -> Vec<String> {
    shown(&store.remove(name, options, &unused).unwrap())
}

fn conflict(result: Result<Vec<Deleted>, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    error.message().to_owned()
}

#[test]
fn the_last_name_takes_the_image_along() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "x:1").unwrap();
    bench.store.tag("x:1", "y/z", "2").unwrap();
    assert_eq!(bench.store.get(&id).unwrap().repo_tags, ["x:1", "y/z:2"]);
    assert_eq!(remove(&bench.store, "x:1", GENTLY), ["untagged x:1"]);
    assert_eq!(remove(&bench.store, "y/z:2", GENTLY), ["untagged y/z:2", &format!("image {id}"), "layer"]);
    assert_eq!(bench.leftovers(), Vec::<String>::new());
    assert_eq!(bench.store.remove("x:1", GENTLY, &unused).unwrap_err().message(), "No such image: x:1");
}

#[test]
fn an_id_stands_for_the_names_of_one_repository() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "x").unwrap();
    bench.store.tag("x", "x", "other").unwrap();
    let refused = conflict(bench.store.remove(id.short(), GENTLY, &unused));
    let short = id.short();
    assert_eq!(
        refused,
        format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories")
    );
    let expected = ["untagged x:latest", "untagged x:other", &format!("image {id}"), "layer"];
    assert_eq!(remove(&bench.store, short, FORCED), expected);
}

#[test]
fn containers_stand_in_the_way() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "x").unwrap();
    let short = id.short();
    let stopped = |_: &ImageId| InUse::Stopped("0123456789ab".into());
    let running = |_: &ImageId| InUse::Running("0123456789ab".into());
    assert_eq!(
        conflict(bench.store.remove("x", GENTLY, &stopped)),
        format!(
            "conflict: unable to remove repository reference \"x\" (must force) - container 0123456789ab is using its \
             referenced image {short}"
        )
    );
    assert_eq!(
        conflict(bench.store.remove(short, GENTLY, &stopped)),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(
        conflict(bench.store.remove(short, FORCED, &running)),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    // Forced by name, a running container's image loses only the name.
    assert_eq!(shown(&bench.store.remove("x", FORCED, &running).unwrap()), ["untagged x:latest"]);
    assert!(bench.store.get(&id).is_some());
}

#[test]
fn layers_stay_while_a_container_stands_on_them() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "x").unwrap();
    let container = Id::random();
    bench.store.hold_layers(container, &id).unwrap();
    assert_eq!(remove(&bench.store, "x", FORCED), ["untagged x:latest", &format!("image {id}")]);
    assert!(bench.store.get(&id).is_none() && bench.tree(&id).join("file").exists());

    // The hold is declared again after a restart.
    let bench = bench.reopen();
    bench.store.hold_layers(container, &id).unwrap();
    bench.store.drop_unheld().unwrap();
    assert!(bench.tree(&id).join("file").exists());
    bench.store.release_layers(container).unwrap();
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

#[test]
fn a_removed_image_without_its_container_goes_at_start() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "x").unwrap();
    bench.store.hold_layers(Id::random(), &id).unwrap();
    remove(&bench.store, "x", FORCED);
    let bench = bench.reopen();
    bench.store.drop_unheld().unwrap();
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

#[test]
fn images_share_layers() {
    let bench = Bench::new();
    let first = bench.import(&small("same"), "x").unwrap();
    let second = bench.import(&small("same"), "y").unwrap();
    assert_ne!(first, second);
    assert_eq!(remove(&bench.store, "x", GENTLY), ["untagged x:latest", &format!("image {first}")]);
    assert!(bench.tree(&second).join("file").exists());
}

#[test]
fn prune_takes_the_nameless() {
    let bench = Bench::new();
    bench.import(&small("1"), "x").unwrap();
    let newest = bench.import(&small("22"), "x").unwrap();
    let (deleted, freed) = bench.store.prune(&|_| true, &unused);
    assert_eq!((deleted.len(), freed), (2, 1));
    assert_eq!(bench.store.list().len(), 1);
    assert_eq!(bench.store.prune_unused(&|_| true, &|_| InUse::Stopped("c".into())).1, 0);
    let (deleted, _) = bench.store.prune_unused(&|_| true, &unused);
    assert_eq!(shown(&deleted), ["untagged x:latest", &format!("image {newest}"), "layer"]);
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

#[test]
fn tags() {
    let bench = Bench::new();
    let first = bench.import(&small("1"), "x").unwrap();
    let second = bench.import(&small("2"), "y").unwrap();
    let tagged = bench.store.tag("y", "x", "").unwrap();
    assert_eq!((tagged.image, tagged.moved.unwrap().from), (second, first));
    for (repo, tag, message) in [
        ("x", "a:b", "invalid tag format"),
        ("X", "", "invalid reference format: repository name (library/X) must be lowercase"),
        (&format!("x@sha256:{}", "a".repeat(64)), "", "refusing to create a tag with a digest reference"),
    ] {
        assert_eq!(bench.store.tag("y", repo, tag).unwrap_err().message(), message);
    }
    assert_eq!(bench.store.tag("none", "a", "").unwrap_err().message(), "No such image: none:latest");
}
