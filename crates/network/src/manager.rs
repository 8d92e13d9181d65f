//! The door of the crate: what is shared by its verbs, each of which has a file of its own.

use crate::books::Books;
use crate::bridge::Host;
use crate::firewall::{Firewall, is_missing};
use crate::sweeper::{Sweeper, delete_links};
use crate::watch::Watch;
use crate::{Config, Driver, Error, NetworkSpec, Result, default_bridge};
use gantry_linux::netlink::{self, Protocol, Socket};
use gantry_model::Id;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Everything Gantry has in the host's network namespace. Calls may come from any thread.
///
/// Locks are taken in the order of the fields, and never held while a container's process is waited for.
#[derive(Debug)]
pub struct Manager {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sweeper: Sweeper,
    /// Ends with the manager.
    _watch: Option<Watch>,
}

/// What the manager has in common with its threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// `None` when it is disabled.
    pub(crate) default_bridge: Option<Id>,
    /// `None` where the daemon may not touch the firewall.
    pub(crate) firewall: Option<Firewall>,
    /// Held by whoever makes or removes networks: what is chosen must still be free when it is made.
    pub(crate) making: Mutex<()>,
    /// Links, addresses, routes.
    pub(crate) links: Mutex<Socket>,
    /// Firewall and connection tracking. Held from a change of the table until the books say so, because
    /// the table can be rebuilt from the books at any time.
    pub(crate) netfilter: Mutex<Socket>,
    pub(crate) books: Mutex<Books>,
}

impl Manager {
    /// Makes what is missing of the default network's bridge and of the firewall table, and adopts what is there. The
    /// bridge takes none of the subnets of `known` networks, which [`restore`](Self::restore) makes later.
    pub fn open(config: Config, default_bridge: Id, known: &[NetworkSpec]) -> Result<Self> {
        crate::pools::check(&config.address_pools)?;
        let socket = |protocol| Socket::open(protocol).map_err(Error::kernel("open a netlink socket"));
        let mut links = socket(Protocol::Route)?;
        let mut netfilter = socket(Protocol::Netfilter)?;
        let default = default_bridge::open(&mut links, &config, default_bridge, known)?;
        let firewall = config.firewall.then(|| Firewall::new(config.table_name(), config.direct_routing));
        let mut books = Books { direct_routing: config.direct_routing, ..Books::default() };
        let default_bridge = default.as_ref().map(|network| network.spec.id);
        books.networks.extend(default.map(|network| (network.spec.id, network)));
        // A table that is there stays in force, with the ports of living containers in it, until `restore` knows
        // which those are.
        if let Some(firewall) = &firewall
            && !firewall.exists(&mut netfilter)?
        {
            firewall.rebuild(&mut netfilter, &books.firewall_content())?;
        }
        let own_port = netfilter.port().map_err(Error::kernel("ask for the socket's port"))?;
        let shared = Arc::new(Shared {
            config,
            default_bridge,
            firewall,
            making: Mutex::new(()),
            links: Mutex::new(links),
            netfilter: Mutex::new(netfilter),
            books: Mutex::new(books),
        });
        shared.meet_docker()?;
        let watch = shared.firewall.is_some().then(|| Watch::start(&shared, own_port)).transpose()?;
        Ok(Self { shared, sweeper: Sweeper::start(socket(Protocol::Route)?)?, _watch: watch })
    }

    /// The default network; `None` when it is disabled.
    pub fn default_bridge(&self) -> Option<NetworkSpec> {
        self.shared.default_bridge.and_then(|id| self.network(&id))
    }

    /// A network as it was made.
    pub fn network(&self, id: &Id) -> Option<NetworkSpec> {
        lock(&self.shared.books).networks.get(id).map(|network| network.spec.clone())
    }

    /// Removes the default network's bridge and the firewall table, if no endpoint and no other network is left and
    /// they are Gantry's own. A daemon that does so at its end leaves nothing behind on the host; one that does not
    /// finds them again.
    pub fn remove_if_unused(&self) -> Result<bool> {
        let shared = &self.shared;
        let mut links = lock(&shared.links);
        let mut netfilter = lock(&shared.netfilter);
        let bridge = {
            let mut books = lock(&shared.books);
            if !books.endpoints.is_empty() || books.networks.keys().any(|id| Some(*id) != shared.default_bridge) {
                return Ok(false);
            }
            // From here on the table is not to be repaired.
            books.closed = true;
            let bridges = books.networks.values().filter_map(|network| network.bridge());
            bridges.filter(|bridge| bridge.owned).map(|bridge| bridge.name.clone()).next()
        };
        let mut errors = Vec::new();
        if let Some(firewall) = &shared.firewall {
            errors.extend(firewall.remove(&mut netfilter).err());
            errors.extend(shared.leave_docker(&mut netfilter).err());
        }
        if let Some(name) = bridge {
            errors.extend(delete_links(&mut links, &[name]).err());
        }
        Error::gather(errors).map(|()| true)
    }
}

impl Shared {
    /// Changes the table. When somebody has flushed the host's whole rule set, everything is put back: the books must say
    /// already what the change makes.
    pub(crate) fn change_firewall(
        &self,
        verb: &str,
        change: impl FnOnce(&Firewall, &mut Socket) -> Result<(), netlink::Error>,
    ) -> Result<()> {
        let Some(firewall) = &self.firewall else { return Ok(()) };
        let mut socket = lock(&self.netfilter);
        match change(firewall, &mut socket) {
            Err(e) if is_missing(&e) => {
                let content = lock(&self.books).firewall_content();
                firewall.rebuild(&mut socket, &content)
            }
            outcome => outcome.map_err(|e| firewall.error(verb, e)),
        }
    }

    /// Looks at what a network of that driver is made on.
    pub(crate) fn look_for(&self, driver: &Driver) -> Result<Host> {
        let name = match driver {
            Driver::Bridge(options) => options.ifname.as_str(),
            Driver::Macvlan(options) => options.parent.as_str(),
            Driver::Ipvlan(options) => options.parent.as_str(),
            Driver::Remote { .. } => return Host::look_for(&mut lock(&self.links), &[]),
        };
        let parent = crate::parent::vlan(name).map(|(parent, _)| parent);
        let names: Vec<_> = [name].into_iter().chain(parent).collect();
        Host::look_for(&mut lock(&self.links), &names)
    }

    /// Looks at the host.
    pub(crate) fn look(&self) -> Result<Host> {
        Host::look(&mut lock(&self.links))
    }
}

/// Locks. A panic under a lock cannot leave what these locks guard half-changed in a way that a later call minds:
/// sockets match answers by number, and the books change by single insertions and removals.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
