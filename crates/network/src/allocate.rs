//! Reserving what a container is going to have.

use crate::manager::{Books, Entry, lock};
use crate::{Allocation, Config, Endpoint, EndpointRequest, Error, MacAddr, Manager, Result};
use gantry_model::Id;
use std::net::Ipv4Addr;

/// The longest name of a link.
const IFNAME_LEN: usize = 15;

impl Manager {
    /// Reserves an address and host ports. Nothing changes in the kernel but the bound sockets.
    pub fn allocate(&self, request: &EndpointRequest) -> Result<Allocation> {
        let network = self.network()?;
        if self.firewall.is_none() && !request.ports.is_empty() {
            return Err(Error::FirewallDisabled);
        }
        let mut books = lock(&self.books);
        let addresses = books.addresses.as_mut().ok_or(Error::NoDefaultBridge)?;
        let ip = match request.ip {
            Some(ip) => addresses.take(ip).map(|()| ip)?,
            None => addresses.take_next()?,
        };
        let (id, host_ifname) = fresh_id(&books, &self.config);
        let mut endpoint = Endpoint {
            id,
            container: request.container,
            ip,
            prefix_len: network.bridge.subnet.prefix_len(),
            gateway: network.gateway,
            mac: request.mac.unwrap_or_else(|| MacAddr::from_ipv4(ip)),
            host_ifname,
            mtu: network.mtu,
            ports: Vec::with_capacity(request.ports.len()),
        };
        let mut port_holders = Vec::with_capacity(request.ports.len());
        for port in &request.ports {
            match books.ports.reserve(port, ip, self.config.default_bind_ip) {
                Ok(reserved) => {
                    endpoint.ports.push(reserved.binding);
                    port_holders.extend(reserved.holder);
                }
                Err(e) => {
                    books.free(&endpoint);
                    return Err(e);
                }
            }
        }
        books.endpoints.insert(id, Entry { endpoint: endpoint.clone(), attached: false });
        Ok(Allocation { endpoint, port_holders })
    }
}

impl Books {
    /// Takes back what an endpoint has.
    pub(crate) fn free(&mut self, endpoint: &Endpoint) {
        for port in &endpoint.ports {
            self.ports.free(port);
        }
        self.free_address(endpoint.ip);
    }

    fn free_address(&mut self, ip: Ipv4Addr) {
        if let Some(addresses) = &mut self.addresses {
            addresses.free(ip);
        }
    }
}

/// An id whose link's name, which is made of the id's beginning, no other endpoint has.
fn fresh_id(books: &Books, config: &Config) -> (Id, String) {
    loop {
        let id = Id::random();
        let mut name = config.link_prefix();
        name.push_str(&id.to_string()[..IFNAME_LEN - name.len()]);
        if !books.endpoints.values().any(|e| e.endpoint.host_ifname == name) {
            return (id, name);
        }
    }
}
