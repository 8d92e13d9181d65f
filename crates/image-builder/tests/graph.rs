//! Builds against an engine that only takes notes: what runs, upon what, in which order, and what is taken from the cache.

use futures_util::future::BoxFuture;
use gantry_image_builder::backend::{Action, Backend, Base, BuildError, FilesOf, Step};
use gantry_image_builder::{Cache, Config, Console, Dockerfile, Options, Sink, Source, build};
use gantry_model::{Error, Result};
use gantry_state_db::Db;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Barrier;

#[derive(Default)]
struct Engine {
    images: Mutex<HashMap<String, Base>>,
    done: Mutex<Vec<String>>,
    count: AtomicUsize,
    /// Commands called `meet` wait here for each other.
    meeting: Option<Barrier>,
    on_build: Vec<String>,
}

impl Backend for Engine {
    async fn base(&self, name: &str, _: Option<&str>) -> Result<Base> {
        if name == "missing" {
            return Err(Error::not_found("no such image"));
        }
        let config = Config { on_build: self.on_build.clone(), ..Config::default() };
        Ok(Base { id: Some(format!("sha256:{name:0<64}")), config, ..Base::default() })
    }

    fn image(&self, id: &str) -> Option<Base> {
        self.images.lock().unwrap().get(id).cloned()
    }

    async fn files(&self, _: &FilesOf) -> Result<Arc<dyn Source>> {
        Err(Error::internal("no files here"))
    }

    async fn carry_out(&self, step: Step, console: &Console) -> Result<String, BuildError> {
        if let Action::Run(action) = &step.action {
            console.say("output\n").await;
            match (&self.meeting, action.command.last().map(String::as_str)) {
                (Some(meeting), Some("meet")) => {
                    meeting.wait().await;
                }
                (_, Some("fail")) => return Err(BuildError::Command { code: 3, message: "failed".into() }),
                _ => {}
            }
        }
        self.done.lock().unwrap().push(step.created_by);
        let id = format!("sha256:{:064x}", self.count.fetch_add(1, Ordering::Relaxed) + 1);
        let base = Base { id: Some(id.clone()), config: step.config, author: step.author, ..Base::default() };
        self.images.lock().unwrap().insert(id.clone(), base);
        Ok(id)
    }

    async fn graft(&self, _: Step, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    async fn imported(&self, _: &Step) -> Option<String> {
        None
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<String>>);

impl Sink for Text {
    fn send(&self, text: String) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().push_str(&text);
        Box::pin(async {})
    }
}

struct Bench {
    engine: Engine,
    cache: Cache,
    text: Text,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&Db::open(&dir.path().join("state.redb")).unwrap()).unwrap();
        Self { engine, cache, text: Text::default(), _dir: dir }
    }

    async fn build(&self, file: &str, options: &Options) -> Result<String, String> {
        let file = Dockerfile::parse("Dockerfile", file.as_bytes()).unwrap();
        let built = build(&self.engine, &self.cache, &file, options, Box::new(self.text.clone())).await;
        built.map(|built| built.image).map_err(|e| match e {
            BuildError::Command { code, message } => format!("{message} {code}"),
            BuildError::Other(e) => e.message().to_owned(),
        })
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.engine.done.lock().unwrap())
    }

    fn said(&self) -> String {
        std::mem::take(&mut *self.text.0.lock().unwrap())
    }
}

#[tokio::test]
async fn what_is_not_needed_is_not_built() {
    let bench = Bench::new(Engine::default());
    let file = "FROM a AS one\nRUN one\nFROM missing AS two\nRUN two\nFROM one\nRUN three\n";
    bench.build(file, &Options::default()).await.unwrap();
    assert_eq!(bench.done(), ["/bin/sh -c one", "/bin/sh -c three"]);
    let said = bench.said();
    assert!(said.contains("Step 1/4 : FROM a AS one\n") && said.contains("Step 4/4 : RUN three\n"), "{said}");
    let target = Options { target: "one".into(), ..Options::default() };
    bench.build(file, &target).await.unwrap();
    assert!(bench.done().is_empty() && bench.said().contains(" ---> Using cache\n"));
}

#[tokio::test]
async fn stages_run_side_by_side_and_print_one_after_the_other() {
    let bench = Bench::new(Engine { meeting: Some(Barrier::new(2)), ..Engine::default() });
    let file = "FROM a AS one\nRUN meet\nFROM b AS two\nRUN meet\nFROM one\nRUN --mount=from=two,target=/x last\n";
    bench.build(file, &Options::default()).await.unwrap();
    let said = bench.said();
    let places: Vec<_> = (1..=6).map(|n| said.find(&format!("Step {n}/6")).unwrap()).collect();
    assert!(places.is_sorted(), "{said}");
}

#[tokio::test]
async fn a_stage_that_fails_says_why_before_its_turn() {
    let bench = Bench::new(Engine { meeting: Some(Barrier::new(2)), ..Engine::default() });
    // The first stage waits for somebody who never comes.
    let file = "FROM a AS one\nRUN meet\nFROM b AS two\nRUN fail\nFROM one\nCOPY --from=two x y\n";
    assert_eq!(bench.build(file, &Options::default()).await.unwrap_err(), "failed 3");
    let said = bench.said();
    assert!(said.contains(" : RUN fail\noutput\n"), "{said}");
}

#[tokio::test]
async fn results_are_known_by_what_they_come_of() {
    let bench = Bench::new(Engine::default());
    let options = |v: &str| Options { arguments: [("v".to_owned(), Some(v.to_owned()))].into(), ..Options::default() };
    let file = "FROM a\nRUN first\nARG v\nRUN second\nENV x=$v\n";
    let one = bench.build(file, &options("1")).await.unwrap();
    assert_eq!(bench.done().len(), 4);
    let two = bench.build(file, &options("2")).await.unwrap();
    assert_eq!(bench.done(), ["|1 v=2 /bin/sh -c second", "/bin/sh -c #(nop)  ENV x=2"]);
    assert_ne!(one, two);
    assert_eq!(bench.build(file, &options("1")).await.unwrap(), one);
    assert!(bench.done().is_empty());
    // A result that somebody removed is made again.
    bench.engine.images.lock().unwrap().remove(&one);
    bench.build(file, &options("1")).await.unwrap();
    assert_eq!(bench.done(), ["/bin/sh -c #(nop)  ENV x=1"]);
    let no_cache = Options { no_cache: true, ..options("1") };
    bench.build(file, &no_cache).await.unwrap();
    assert_eq!(bench.done().len(), 4);
}

#[tokio::test]
async fn failures_name_their_place() {
    let bench = Bench::new(Engine::default());
    let error = async |file: &str| bench.build(file, &Options::default()).await.unwrap_err();
    assert_eq!(error("FROM a\nRUN fail\nRUN never").await, "failed 3");
    assert_eq!(error("FROM missing").await, "no such image\nDockerfile:1: FROM missing");
    assert_eq!(error("FROM a\n\nENV a=${b").await, "syntax error: missing '}'\nDockerfile:3: ENV a=${b");
    assert_eq!(error("FROM a\nEXPOSE x").await, "invalid containerPort: x\nDockerfile:2: EXPOSE x");
    assert!(error("FROM $nothing").await.starts_with("base name ($nothing) should not be blank"));
    assert_eq!(error("FROM scratch").await, "No image was generated. Is your Dockerfile empty?");
    assert!(error("FROM a\nCOPY --from=scratch x /y").await.starts_with("no files here"));
    let target = Options { target: "nope".into(), ..Options::default() };
    assert_eq!(bench.build("FROM a", &target).await.unwrap_err(), "failed to reach build target nope in Dockerfile");
}

#[tokio::test]
async fn triggers_of_a_base_run_first_and_once() {
    let bench = Bench::new(Engine { on_build: vec!["RUN trigger".into()], ..Engine::default() });
    bench.build("FROM a AS one\nRUN own\nFROM one\nRUN last\n", &Options::default()).await.unwrap();
    assert_eq!(bench.done(), ["/bin/sh -c trigger", "/bin/sh -c own", "/bin/sh -c last"]);
    assert!(bench.said().contains("# Executing 1 build trigger\n"));
}

#[tokio::test]
async fn triggers_may_ask_for_stages_that_nothing_else_needs() {
    let on_build =
        vec!["RUN --mount=from=tools,target=/t x".to_owned(), "RUN --mount=from=tools,target=/u y".to_owned()];
    let bench = Bench::new(Engine { on_build, ..Engine::default() });
    let file = "FROM scratch AS below\nARG a=1\nFROM below AS tools\nENV t=$a\nFROM scratch AS never\nENV n=1\nFROM base\nRUN last\n";
    bench.build(file, &Options::default()).await.unwrap();
    let done = bench.done();
    assert_eq!(done.iter().filter(|step| step.contains("ENV t=1")).count(), 1, "{done:?}");
    assert!(!done.iter().any(|step| step.contains("n=1")));
    let said = bench.said();
    assert!(said.contains("Step 1/2 : FROM base") && said.contains("Step 4/6 : ENV t=$a"), "{said}");
    assert!(said.contains("Step 2/6 : RUN last"), "{said}");
}

#[tokio::test]
async fn labels_of_the_client_come_last() {
    let bench = Bench::new(Engine::default());
    let options = Options { labels: [("k".to_owned(), "a \"b\" $c".to_owned())].into(), ..Options::default() };
    let image = bench.build("FROM a\nLABEL k=x\n", &options).await.unwrap();
    assert_eq!(bench.engine.image(&image).unwrap().config.labels["k"], "a \"b\" $c");
    assert!(bench.said().contains("Step 3/3 : LABEL"));
}
