//! Getting along with a Docker daemon on the same host.
//!
//! Docker sets the policy of the `FORWARD` chain of iptables to drop, which is final for the packets of everybody else's
//! containers, too. It leaves a chain for others, `DOCKER-USER`, in which Gantry says that it answers for its own
//! bridges: what goes to them is decided in Gantry's table, and what comes from them may leave by any interface that is
//! no bridge. What goes from Gantry's containers to Docker's is Docker's to decide, as it is for any other neighbour.
//!
//! The rules stand behind the administrator's own, and have the form that the `iptables` command gives its rules, because
//! it refuses to work on tables in which it finds anything else.

use crate::manager::{Shared, lock};
use crate::{Error, Result};
use gantry_linux::netlink::nft::{self, Family, Interface, Listed, Transaction, Verdict, Where};
use gantry_linux::netlink::{Socket, route};

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";
/// The chain that it hangs in.
const FORWARD: &str = "FORWARD";

/// Docker's tables.
pub(crate) const TABLES: [Where<'static>; 2] =
    [Where { family: Some(Family::Ipv4), table: TABLE }, Where { family: Some(Family::Ipv6), table: TABLE }];

/// Whether a change to one of these tables may have been one to the rules here.
pub(crate) fn concerns(chain: Option<&str>) -> bool {
    chain.is_none_or(|chain| chain == CHAIN || chain == FORWARD)
}

impl Shared {
    /// Brings the rules in Docker's chain in line with the bridges that there are. Without such a chain there is
    /// nothing to be done.
    pub(crate) fn meet_docker(&self) -> Result<()> {
        if self.firewall.is_none() {
            return Ok(());
        }
        if dockers_tables(&mut lock(&self.netfilter))?.is_empty() {
            return Ok(());
        }
        // Links are locked before the firewall.
        let ways_out = self.ways_out()?;
        let mut socket = lock(&self.netfilter);
        let bridges: Vec<String> = {
            let books = lock(&self.books);
            if books.closed { Vec::new() } else { books.bridges() }
        };
        self.tell_docker(&mut socket, &bridges, &ways_out)
    }

    /// Takes the rules back.
    pub(crate) fn leave_docker(&self, socket: &mut Socket) -> Result<()> {
        self.tell_docker(socket, &[], &[])
    }

    fn tell_docker(&self, socket: &mut Socket, bridges: &[String], ways_out: &[String]) -> Result<()> {
        for at in dockers_tables(socket)? {
            let there = nft::rules(socket, at, CHAIN).map_err(fail)?;
            let comment = self.config.table_name();
            let mut change = Transaction::of_family(at.family.unwrap_or(Family::Ipv4), TABLE);
            rewrite(&mut change, &there, &comment, bridges, ways_out);
            match change.commit(socket) {
                // It was removed meanwhile, of which we hear, too.
                Err(e) if crate::firewall::is_missing(&e) => {}
                outcome => outcome.map_err(fail)?,
            }
        }
        Ok(())
    }

    /// The interfaces that are no bridges, no parts of bridges and not the loopback.
    fn ways_out(&self) -> Result<Vec<String>> {
        let links = route::links(&mut lock(&self.links)).map_err(|e| Error::kernel("list links")(e.into()))?;
        let is_way_out =
            |link: &&route::Link| link.kind.as_deref() != Some("bridge") && link.master.is_none() && link.name != "lo";
        Ok(links.iter().filter(is_way_out).map(|link| link.name.clone()).collect())
    }
}

/// The tables in which there is a chain for others.
fn dockers_tables(socket: &mut Socket) -> Result<Vec<Where<'static>>> {
    let mut found = Vec::new();
    for at in TABLES {
        let chains = nft::chains(socket, at).map_err(fail)?;
        found.extend(chains.iter().any(|name| name == CHAIN).then_some(at));
    }
    Ok(found)
}

fn fail(e: gantry_linux::netlink::Error) -> Error {
    Error::kernel(format!("change Docker's chain {CHAIN}"))(e.into())
}

fn rewrite(change: &mut Transaction<'_>, there: &[Listed], comment: &str, bridges: &[String], ways_out: &[String]) {
    for rule in there.iter().filter(|rule| rule.has_comment(comment)) {
        change.delete_rule(CHAIN, rule.handle);
    }
    let end = there.last().filter(|rule| rule.returns && !rule.has_comment(comment)).map(|rule| rule.handle);
    for bridge in bridges {
        change.insert_rule(CHAIN, end, comment, |r| {
            r.interface(Interface::Output, true, bridge).counter().verdict(Verdict::Accept);
        });
        for way_out in ways_out {
            change.insert_rule(CHAIN, end, comment, |r| {
                r.interface(Interface::Input, true, bridge)
                    .interface(Interface::Output, true, way_out)
                    .counter()
                    .verdict(Verdict::Accept);
            });
        }
    }
}
