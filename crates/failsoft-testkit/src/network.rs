//! Hosts of their own for servers and clients: network namespaces on one switch, and what can befall the packets between.

mod commands;
mod inside;
mod leftovers;
mod rules;

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use self::rules::Rule;
use crate::{Error, port::Port, watchdog::Watchdog};

pub use self::inside::Inside;

/// Addresses in one network: the first is ours, the rest are hosts'.
const ADDRESSES: u32 = 16;
/// Without the network's own address, the broadcast address, and ours.
const MAX_HOSTS: usize = ADDRESSES as usize - 3;
/// 198.18.0.0/15 is set apart for tests of network devices (RFC 2544), so nothing real lives there. Each network takes
/// sixteen addresses of it, by the number of a port that it holds.
const RANGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// Hosts on one switch, each with an address and a network namespace of its own. Dropping it removes them, and a
/// watchdog does when the process dies.
///
/// Hosts have indices. This process reaches each of them all the time, whatever is cut, from an address that no rule
/// is about; a client that is to be cut off lives on a host, too: see [`Network::inside`] and [`Network::words`].
///
/// Linux only. It needs root, and the programs `ip` (iproute2) and `nft` (nftables).
#[derive(Debug)]
pub struct Network {
    /// Begins the name of every namespace.
    name: String,
    first: Ipv4Addr,
    hosts: usize,
    rules: Mutex<Vec<Rule>>,
    /// Removes the namespaces when this process dies.
    _watchdog: Watchdog,
    _port: Port,
}

impl Network {
    /// Sets up that many hosts, at most 13. What dead processes left behind is removed first.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] where this cannot be done: on another system, without root, without the programs.
    pub fn start(hosts: usize) -> Result<Network, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !(1..=MAX_HOSTS).contains(&hosts) {
            return Err(Error::Config(format!("{hosts} hosts on one network: 1 to {MAX_HOSTS}")));
        }
        commands::permitted()?;
        leftovers::remove();
        let port = Port::reserve()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = leftovers::name(std::process::id(), number);
        let names: Vec<_> = (0..hosts).map(|host| namespace(&name, host)).chain([switch(&name)]).collect();
        let network = Network {
            first: Ipv4Addr::from(u32::from(RANGE) + port.index() * ADDRESSES),
            hosts,
            rules: Mutex::default(),
            // Before anything is made, so that all of it is watched over. It is dropped with the rest if that fails.
            _watchdog: Watchdog::of_namespaces(&names)?,
            _port: port,
            name,
        };
        network.build(&leftovers::link(std::process::id(), number))?;
        Ok(network)
    }

    /// Whether this machine and this user can have such a network.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] says what is missing.
    pub fn available() -> Result<(), Error> {
        Network::start(1).map(drop)
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.hosts
    }

    /// A host's address.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn address(&self, host: usize) -> Ipv4Addr {
        assert!(host < self.hosts, "host {host}: hosts are 0 to {}", self.hosts - 1);
        self.at(2 + host)
    }

    /// The words that start a program on a host when they are put before its own: `ip netns exec …`.
    pub fn words(&self, host: usize) -> Result<Vec<String>, Error> {
        self.check(&[host])?;
        Ok(["ip", "netns", "exec"].map(str::to_owned).into_iter().chain([namespace(&self.name, host)]).collect())
    }

    /// Threads on a host: what is opened on this runtime's handle is opened there.
    pub fn inside(&self, host: usize) -> Result<Inside, Error> {
        self.check(&[host])?;
        Inside::start(&namespace(&self.name, host))
    }

    /// From now on no packet gets from these hosts to those, or back. Nobody is told: connections stay open on both
    /// sides.
    pub fn cut(&self, these: &[usize], those: &[usize]) -> Result<(), Error> {
        self.lose(these, those, 100)
    }

    /// The same in one direction: packets from `from` do not arrive at `to`; those of `to` still arrive at `from`.
    pub fn cut_one_way(&self, from: &[usize], to: &[usize]) -> Result<(), Error> {
        self.add(&[from, to], rules::between(from, to, 100))
    }

    /// So many of a hundred packets between these hosts and those get lost, at random, in each direction.
    pub fn lose(&self, these: &[usize], those: &[usize], percent: u8) -> Result<(), Error> {
        if !(1..=100).contains(&percent) {
            return Err(Error::Config(format!("{percent}% of packets lost: 1 to 100")));
        }
        let rules = rules::between(these, those, percent).chain(rules::between(those, these, percent));
        self.add(&[these, those], rules)
    }

    /// The connections that there are now between the two hosts fall silent for good, and neither end is told. New ones
    /// work: so does a firewall that forgot what it let through.
    pub fn silence(&self, one: usize, other: usize) -> Result<(), Error> {
        self.check(&[one, other])?;
        let ports = commands::connections(&namespace(&self.name, one), self.address(other))?;
        self.add(&[], rules::silenced(one, other, &ports))
    }

    /// All of it ends: every packet arrives.
    pub fn heal(&self) -> Result<(), Error> {
        let mut rules = self.rules();
        rules.clear();
        self.apply(&rules)
    }

    fn add(&self, hosts: &[&[usize]], more: impl Iterator<Item = Rule>) -> Result<(), Error> {
        hosts.iter().try_for_each(|hosts| self.check(hosts))?;
        let mut rules = self.rules();
        rules.extend(more);
        self.apply(&rules)
    }

    /// All hosts at the same time, or as nearly so as processes can start.
    fn apply(&self, rules: &[Rule]) -> Result<(), Error> {
        let texts = (0..self.hosts).map(|host| {
            let mut command = exec(&namespace(&self.name, host));
            command.args(["nft", "-f", "-"]);
            (command, rules::text(host, rules, |host| self.address(host)))
        });
        commands::run_all(texts.collect())
    }

    fn build(&self, link: &str) -> Result<(), Error> {
        let (switch, names) = (switch(&self.name), |host| namespace(&self.name, host));
        let ip = |words: &[&str]| {
            let mut command = Command::new("ip");
            command.args(words);
            (command, String::new())
        };
        commands::run_all(vec![ip(&["netns", "add", &switch])])?;
        for host in 0..self.hosts {
            commands::run_all(vec![ip(&["netns", "add", &names(host)])])?;
        }
        let mut wires = "link add switch type bridge\nlink set switch up\n".to_owned();
        for host in 0..self.hosts {
            wires += &format!("link add host{host} type veth peer name eth0 netns {}\n", names(host));
            wires += &format!("link set host{host} master switch up\n");
        }
        commands::run_all(vec![(batch(&switch), wires)])?;
        let up = |host| {
            let address = self.address(host);
            let lines = format!("link set lo up\naddr add {address}/28 dev eth0\nlink set eth0 up\n");
            (batch(&names(host)), lines)
        };
        commands::run_all((0..self.hosts).map(up).collect())?;
        let own = format!("{}/28", self.at(1));
        commands::run_all(vec![ip(&["link", "add", link, "type", "veth", "peer", "name", "ours", "netns", &switch])])?;
        commands::run_all(vec![(batch(&switch), "link set ours master switch up\n".to_owned())])?;
        commands::run_all(vec![ip(&["addr", "add", &own, "dev", link])])?;
        commands::run_all(vec![ip(&["link", "set", link, "up"])])
    }

    fn at(&self, offset: usize) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + offset as u32)
    }

    fn check(&self, hosts: &[usize]) -> Result<(), Error> {
        match hosts.iter().find(|&&host| host >= self.hosts) {
            Some(host) => Err(Error::Config(format!("host {host}: hosts are 0 to {}", self.hosts - 1))),
            None => Ok(()),
        }
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the watchdog, or by whoever starts a network next.
        leftovers::remove_network(&self.name);
    }
}

fn namespace(network: &str, host: usize) -> String {
    format!("{network}-{host}")
}

fn switch(network: &str) -> String {
    format!("{network}-switch")
}

fn exec(namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]);
    command
}

/// Lines of `ip` commands, carried out in a namespace.
fn batch(namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]);
    command
}
