//! The engine: the rooms it composes, and how it opens.

use crate::config::{Config, Reloadable};
use crate::container::{Container, Dirs, Record, Registry};
use crate::events::Events;
use crate::images::Places;
use crate::log_watch::LogWatch;
use crate::modules::Modules;
use crate::networks::Networks;
use crate::remap::Remap;
use crate::transfer::Transfers;
use crate::{exec, host_resolver, recover, volumes};
use gantry_image_store::ImageStore;
use gantry_model::error::Context;
use gantry_model::{Id, Result};
use gantry_network::BridgeChoice;
use gantry_runtime::cgroup::CgroupRoot;
use gantry_state_db::{Db, Table};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock, RwLock};

/// Table of container records.
pub(crate) const CONTAINERS: Table<Record> = Table::new("containers");

/// The file of the data-root with all records.
pub(crate) const STATE: &str = "state.redb";

/// A container engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) images: ImageStore,
    pub(crate) registry: gantry_registry_client::Client,
    pub(crate) transfers: Transfers,
    pub(crate) places: Places,
    pub(crate) build_cache: gantry_image_builder::Cache,
    pub(crate) cache_mounts: Arc<crate::build::CacheMounts>,
    pub(crate) volumes: gantry_volumes::Volumes,
    pub(crate) volume_runs: volumes::Runs,
    pub(crate) plugins: gantry_plugins::Plugins,
    pub(crate) network: Arc<gantry_network::Manager>,
    pub(crate) networks: Networks,
    pub(crate) dns: gantry_dns::Server,
    pub(crate) cgroups: CgroupRoot,
    pub(crate) containers: Registry,
    pub(crate) execs: exec::Execs,
    pub(crate) events: Events,
    pub(crate) log_watch: LogWatch,
    pub(crate) walks: crate::layer_sizes::Walks,
    /// Linux security modules.
    pub(crate) modules: Modules,
    /// Set if containers have user namespaces.
    pub(crate) remap: Option<Remap>,
    pub(crate) reloadable: RwLock<Reloadable>,
    /// `/info`'s `ID`, made once for a data-root.
    pub(crate) id: String,
    /// Sees the lazily written records through; set once at opening.
    pub(crate) handle: tokio::runtime::Handle,
    pub(crate) myself: OnceLock<std::sync::Weak<Engine>>,
}

impl Engine {
    /// Opens the state below the configured roots, finds running containers again and brings the
    /// world and the records together (`recover.rs`). Must be called inside a tokio runtime.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        gantry_linux::children::reap_automatically().context("ignoring SIGCHLD")?;
        let engine = Arc::new(tokio::task::block_in_place(|| Self::assemble(config))?);
        engine.myself.set(Arc::downgrade(&engine)).unwrap_or_else(|_| unreachable!("set only here"));
        // Before containers are told of the host's name servers.
        host_resolver::follow(&engine);
        recover::run(&engine).await?;
        Ok(engine)
    }

    fn assemble(config: Config) -> Result<Self> {
        for dir in
            [config.data_root.join("containers"), config.data_root.join("trash"), config.exec_root.join("containers")]
        {
            make_private_dir(&dir).context(dir.display())?;
        }
        let modules = Modules::detect(config.selinux)?;
        let remap = config.remap.as_ref().map(|ids| Remap::open(&config, ids)).transpose()?;
        let db = Db::open(&config.data_root.join(STATE))?;
        let images = ImageStore::open(&config.data_root, db.clone())?;
        let registry = gantry_registry_client::Client::new(config.registry.client());
        let transfers = Transfers::new(&config.registry);
        let places = Places::open(&db)?;
        let build_cache = gantry_image_builder::Cache::open(&db)?;
        let volumes = gantry_volumes::Volumes::open(&config.data_root, db.clone())?;
        let plugins = gantry_plugins::Plugins::new(config.plugins.clone());
        if remap.is_some() {
            // A set-user-id program of a container's root has, on the disk, the host's root as its owner.
            fs::set_permissions(config.data_root.join("volumes"), fs::Permissions::from_mode(0o700))
                .context("closing the volumes to other users")?;
        }
        let networks = Networks::open(&db, config.network.bridge != BridgeChoice::Disabled)?;
        let network = networks.default_bridge();
        let network = Arc::new(gantry_network::Manager::open(config.network.clone(), network, &networks.specs())?);
        let cgroups = CgroupRoot::detect()?;
        let id = engine_id(&config.data_root.join("engine-id"))?;
        let reloadable =
            Reloadable { labels: config.labels.clone(), debug: config.debug, registry: config.registry.clone() };
        Ok(Self {
            config,
            db,
            images,
            registry,
            transfers,
            places,
            build_cache,
            cache_mounts: Arc::default(),
            volumes,
            volume_runs: volumes::Runs::default(),
            plugins,
            network,
            networks,
            dns: gantry_dns::Server::new(),
            cgroups,
            containers: Registry::default(),
            execs: exec::Execs::default(),
            events: Events::new(),
            log_watch: LogWatch::default(),
            walks: crate::layer_sizes::Walks::default(),
            modules,
            remap,
            reloadable: RwLock::new(reloadable),
            id,
            handle: tokio::runtime::Handle::current(),
            myself: OnceLock::new(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where container `id` keeps its files.
    pub(crate) fn dirs(&self, id: &Id) -> Dirs {
        Dirs::new(&self.config.data_root, &self.config.exec_root, id)
    }

    /// The container a client named.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>> {
        self.containers.resolve(name)
    }

    /// An owning handle, for tasks that outlive a call.
    pub(crate) fn arc(&self) -> Arc<Self> {
        let weak = self.myself.get().expect("set before any call can be made");
        weak.upgrade().expect("a method runs, so somebody holds the engine")
    }
}

/// A directory that only root enters, with its parents.
fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o710).create(path)
}

/// The engine's own id, kept in the data-root; Docker's form of a UUID.
fn engine_id(path: &std::path::Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let hex = Id::random().to_string();
    let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]);
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, &id).context(temporary.display())?;
    std::fs::rename(&temporary, path).context(path.display())?;
    Ok(id)
}
