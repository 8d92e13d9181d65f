//! Times import, save, load and removal of an archive: `import_bench ARCHIVE DATA-ROOT [ROUNDS]`.

use gantry_image_store::{ImageStore, ImportOptions, InUse, RemoveOptions, import_name};
use gantry_state_db::Db;
use std::{
    env,
    fs::{self, File},
    io::BufWriter,
    path::PathBuf,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [archive, root, rest @ ..] = arguments.as_slice() else {
        return Err("usage: import_bench ARCHIVE DATA-ROOT [ROUNDS]".into());
    };
    let rounds: u32 = rest.first().map_or(Ok(3), |text| text.to_string_lossy().parse())?;
    fs::create_dir_all(root)?;
    let store = ImageStore::open(root, Db::open(&root.join("state.db"))?)?;
    let saved = root.join("saved.tar");
    for round in 0..rounds {
        let options = || ImportOptions { name: import_name("bench", "x").ok().flatten(), ..ImportOptions::default() };
        let (import, id) = timed(|| Ok(store.import(&mut File::open(archive)?, options(), &mut |_| ())?))?;
        let (flush, ()) = timed(|| {
            store.flush();
            Ok(())
        })?;
        let (save, ()) = timed(|| Ok(store.save(&["bench:x".into()], &mut BufWriter::new(File::create(&saved)?))?))?;
        let (load_known, _) = timed(|| Ok(store.load(&mut File::open(&saved)?, None, &mut |_| ())?))?;
        let remove = || Ok(store.remove(id.as_str(), RemoveOptions { force: true, prune: true }, &|_| InUse::None)?);
        let (removal, _) = timed(remove)?;
        let (load_new, _) = timed(|| Ok(store.load(&mut File::open(&saved)?, None, &mut |_| ())?))?;
        timed(remove)?;
        store.flush();
        println!(
            "round {round}: import {import:?} (then on disk after {flush:?}), save {save:?}, load {load_known:?} known \
             / {load_new:?} new, remove {removal:?}"
        );
    }
    Ok(fs::remove_file(saved)?)
}

fn timed<T>(act: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let start = Instant::now();
    let value = act()?;
    Ok((start.elapsed(), value))
}
