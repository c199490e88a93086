//! Settings and seeds of a router, checked before any connection is made.

use crate::clock::Clock;
use crate::connection::{TlsPem, TlsSetup};
use crate::error::Error;
use crate::events::Observer;
use crate::opener::Opener;
use crate::router::Router;
use failsoft_policy::Endpoint;
use failsoft_policy::config::{Config, Setting, check_nodes, split_nodes};
use failsoft_policy::error::ConfigError;
use failsoft_policy::events::Event;
use failsoft_policy::replication::Durability;
use failsoft_policy::sharing::Coalesce;
use redis::{ConnectionAddr, IntoConnectionInfo};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What the URLs of servers begin with.
const SCHEMES: [&str; 4] = ["redis://", "rediss://", "valkey://", "valkeys://"];

/// How connections are encrypted. `rediss://` addresses turn TLS on with the defaults.
#[derive(Clone, Default)]
pub struct Tls {
    pem: TlsPem,
}

impl Tls {
    /// TLS 1.2 or 1.3; servers must have a certificate from one of Mozilla's authorities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these authorities instead: PEM with one or more certificates.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.pem.roots = Some(pem.into());
        self
    }

    /// Shows the servers this certificate: PEM with a chain, and PEM with its key.
    pub fn client_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.pem.client = Some((chain.into(), key.into()));
        self
    }

    /// The name that the servers' certificates are for, if it is not the host they are reached at.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.pem.server_name = Some(name.into());
        self
    }

    /// Accepts every certificate: anyone between the two ends can read and change everything.
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.pem.danger_accept_invalid_certs = true;
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Tls").field("server_name", &self.pem.server_name).finish_non_exhaustive()
    }
}

/// Builds a [`Router`]. [`build`](Self::build) reports the first bad setting.
#[derive(Clone)]
#[must_use = "a router is made by `build`"]
pub struct Builder {
    nodes: Vec<String>,
    config: Config,
    tls: Option<Tls>,
    runtime: Option<Handle>,
    observer: Option<Observer>,
    problem: Option<ConfigError>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| without_password(node)).collect();
        let Self { config, tls, problem, .. } = self;
        let mut shown = f.debug_struct("Builder");
        shown.field("nodes", &nodes).field("config", config).field("tls", tls).field("problem", problem);
        shown.finish_non_exhaustive()
    }
}

/// One method for each duration.
macro_rules! durations {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        $($(#[$doc])*
        pub fn $name(self, value: Duration) -> Self {
            self.set(stringify!($name), Setting::Duration(value))
        })+
    };
}

impl Builder {
    pub(crate) fn new(nodes: Vec<String>) -> Self {
        Self { nodes, config: Config::default(), tls: None, runtime: None, observer: None, problem: None }
    }

    /// Any setting by its key: the same keys, defaults and ranges in every language
    /// ([`Config::KEYS`]).
    pub fn set(mut self, key: &str, value: Setting) -> Self {
        if let Err(problem) = self.config.set(key, value) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// Any setting by its key as text: durations in milliseconds as `<key>_ms`, off as `""`; `off` means the same unless it
    /// is a value itself, as for a password.
    pub fn set_text(mut self, key: &str, text: &str) -> Self {
        if let Err(problem) = self.config.set_text(key, text) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    durations! {
        /// The pause before the second attempt on a source; it doubles, with full jitter. 50 ms.
        base_backoff,
        /// The most time for one attempt on one node. 250 ms.
        attempt_timeout,
        /// The most time for the whole cluster side of a read. 1 s.
        deadline,
        /// The most time to open a connection. 500 ms.
        connect_timeout,
        /// How often the slot map and the nodes are looked at when nothing is wrong. 15 s.
        slot_refresh_interval,
        /// How old a stand-in (the answer of a replica, or a copy in this process) may be where invalidations of its key
        /// may have been missed. 2 s.
        staleness_budget,
        /// How old it may be where all invalidations since then are known. 30 s.
        outage_budget,
        /// The time to live of a value that is written back. 300 s.
        fill_ttl,
        /// For how long an invalidation is known: no replica serves what is older, and after a failover it is sent again.
        /// 60 s.
        invalidation_ttl,
        /// How old the proof may be that a node still tells its invalidations. 1 s.
        trust_window,
        /// For how long a writer inside [`writing`](crate::Router::writing) holds its keys. 10 s.
        hold,
        /// The most time that callers wait for one run of a callback. 10 s.
        load_timeout,
        /// After so long a caller whose key has a copy that may stand in gets that, and the load goes on without it. Off.
        soft_load_timeout,
        /// For how long a callback's word that a key does not exist counts for later callers. Off.
        negative_ttl,
        /// For how long callers of a key whose load failed get the same error, without another load. Off.
        failure_pause,
        /// How long a callback may take: while more than one in twenty takes longer, and loads wait in line for longer than
        /// that, loads are shed. 50 ms; off by [`set`](Builder::set): [`Setting::Off`].
        slo,
        /// For how long a lease stands that its load does not prolong. With it a load waits for the load of the same key
        /// that another process has under way, and takes over when that one's lease is gone. Off.
        lease_ttl,
    }

    /// How many more attempts on the primary one read may make after the first. 3.
    pub fn max_retries(self, value: u32) -> Self {
        self.set("max_retries", Setting::Integer(value.into()))
    }

    /// How many redirects one read may follow. 5.
    pub fn max_redirects(self, value: u32) -> Self {
        self.set("max_redirects", Setting::Integer(value.into()))
    }

    /// The most loads that run at once; beyond it they wait in line, in order. A call for many keys is one load. What a
    /// callback asks this router for does not wait. 256.
    pub fn max_concurrent_loads(self, value: u32) -> Self {
        self.set("max_concurrent_loads", Setting::Integer(value.into()))
    }

    /// The most bytes of a near cache, which serves hot keys without asking a node; 0: there is none. 0.
    pub fn near_cache_bytes(self, value: u32) -> Self {
        self.set("near_cache_bytes", Setting::Integer(value.into()))
    }

    /// The most bytes that copies of hot keys and of loaded values may take in this process, to stand in when nothing else
    /// can answer; 0: there are none. 64 MiB.
    pub fn standin_bytes(self, value: u32) -> Self {
        self.set("standin_bytes", Setting::Integer(value.into()))
    }

    /// The most reads in flight to one node; beyond it a read goes to the next source. 10,000.
    pub fn max_in_flight(self, value: u32) -> Self {
        self.set("max_in_flight", Setting::Integer(value.into()))
    }

    /// Who has to have an invalidation before it is complete. [`Durability::Replica`].
    pub fn invalidate_durability(self, value: Durability) -> Self {
        self.set("invalidate_durability", Setting::Word(value.as_str()))
    }

    /// What equal reads under way share: the runs of callbacks, or the requests to nodes, too. [`Coalesce::Loads`].
    pub fn coalesce(self, value: Coalesce) -> Self {
        self.set("coalesce", Setting::Word(value.as_str()))
    }

    /// Whether a loaded value is written back. `true`.
    pub fn fill(self, value: bool) -> Self {
        self.set("fill", Setting::Bool(value))
    }

    /// How early a key that is read often is loaded anew, by one of its callers in the background, before its time to live
    /// has passed: XFetch's beta, 1 is about as early as its load takes. 0: not at all.
    pub fn early_refresh(self, beta: f64) -> Self {
        self.set("early_refresh", Setting::Number(beta))
    }

    /// The share of what primaries and near copies serve that is loaded again in the background, to compare. 0.
    pub fn verify_sample(self, share: f64) -> Self {
        self.set("verify_sample", Setting::Number(share))
    }

    /// Whether nodes are asked to tell which keys they evict, and which have expired. `false`.
    pub fn eviction_events(self, value: bool) -> Self {
        self.set("eviction_events", Setting::Bool(value))
    }

    /// The share of a time to live that chance may take off it. 0.1.
    pub fn ttl_jitter(self, value: f64) -> Self {
        self.set("ttl_jitter", Setting::Number(value))
    }

    /// The ACL user to log in as.
    pub fn username(self, value: impl Into<String>) -> Self {
        self.set("username", Setting::Text(value.into()))
    }

    /// The password to log in with.
    pub fn password(self, value: impl Into<String>) -> Self {
        self.set("password", Setting::Text(value.into()))
    }

    /// The name of the connections in `CLIENT LIST`.
    pub fn client_name(self, value: impl Into<String>) -> Self {
        self.set("client_name", Setting::Text(value.into()))
    }

    /// Cluster address to reachable address, for nodes behind NAT.
    pub fn address_map<A: Into<String>, B: Into<String>>(self, map: impl IntoIterator<Item = (A, B)>) -> Self {
        let pairs = map.into_iter().map(|(from, to)| format!("{}={}", from.into(), to.into())).collect();
        self.set("address_map", Setting::List(pairs))
    }

    /// Encrypts all connections.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Where the router's tasks and the callbacks run; without it, the runtime that `build` is called
    /// in.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Tells `observer` what an operator wants to know: a cluster that is not found, nodes that are lost and back,
    /// verdicts, values not written back, panics that were caught; at most one message a second of each kind. It is called
    /// on a thread of the runtime and must not block.
    pub fn observer(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }

    /// Makes the router. It works at once: it connects by itself, in the background.
    ///
    /// # Errors
    /// [`Error::Config`] naming the setting or the address, and what is allowed.
    pub fn build(mut self) -> Result<Router, Error> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        check_nodes(&self.nodes)?;
        let (mut seeds, mut known) = (Vec::new(), BTreeSet::new());
        let nodes = std::mem::take(&mut self.nodes);
        for node in nodes.iter().flat_map(|node| split_nodes(node)) {
            // No address contains an `@`: this was meant as a URL, perhaps with a password.
            let url = node.contains("://") || node.contains('@');
            let seed = if url { self.read_url(node)? } else { Endpoint::parse(node)? };
            if known.insert(seed.clone()) {
                seeds.push(seed);
            }
        }
        if self.config.username().is_some() && self.config.password().is_none() {
            return Err(ConfigError::new("username", "needs a `password`").into());
        }
        let tls = match self.tls {
            Some(tls) => Some(set_up(tls)?),
            None => None,
        };
        let runtime = self.runtime.or_else(|| Handle::try_current().ok());
        let Some(runtime) = runtime else {
            let problem = "`build` was called outside of a tokio runtime; call it inside one, or give one";
            return Err(ConfigError::new("runtime", problem).into());
        };
        let (clock, observer) = (Clock::new(), self.observer);
        let opener = Opener { config: self.config, tls, clock, runtime, endings: Arc::default(), observer };
        Ok(Router::start(opener, seeds))
    }

    /// Takes over what a URL says beside the address: TLS, user and password.
    fn read_url(&mut self, url: &str) -> Result<Endpoint, ConfigError> {
        let bad = |problem: &str| ConfigError::new("nodes", format!("'{}': {problem}", without_password(url)));
        let allowed = "allowed: redis://[user:password@]host:port, valkey://…, or with TLS rediss://…, valkeys://…";
        if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(bad(&format!("an unknown kind of URL; {allowed}")));
        }
        if url[url.rfind('@').unwrap_or(0)..].contains(['?', '#']) {
            return Err(bad(&format!("options belong into the settings; {allowed}")));
        }
        let (url, scope) = without_scope(url);
        let info = url
            .as_str()
            .into_connection_info()
            .map_err(|_| bad(&format!("its host or port cannot be read; {allowed}")))?;
        if info.redis_settings().db() != 0 {
            return Err(bad("names a database; a cluster has database 0 only"));
        }
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, port),
            ConnectionAddr::TcpTls { host, port, .. } => {
                self.tls.get_or_insert_default();
                (host, port)
            }
            _ => return Err(bad(allowed)),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = if bare.contains(':') { format!("[{bare}{scope}]:{port}") } else { format!("{bare}:{port}") };
        let pairs = [("username", info.redis_settings().username()), ("password", info.redis_settings().password())];
        for (key, value) in pairs {
            let Some(value) = value else { continue };
            let held = if key == "username" { self.config.username() } else { self.config.password() };
            if held.is_some_and(|held| held != value) {
                return Err(ConfigError::new(key, "the nodes and the settings name different ones; one is allowed"));
            }
            self.config.set(key, Setting::Text(value.to_owned()))?;
        }
        Endpoint::parse(&address)
    }
}

/// A URL without the scope of its IPv6 address, which the parser of URLs does not know, and that scope: `%eth0`, which
/// URLs write `%25eth0` (RFC 6874).
fn without_scope(url: &str) -> (String, String) {
    let host = url.rfind('@').map_or(0, |at| at + 1);
    let scope = url[host..].split_once('[').and_then(|(_, rest)| rest.split_once(']')?.0.split_once('%'));
    let Some((_, scope)) = scope else { return (url.to_owned(), String::new()) };
    let cut = url[..host].to_owned() + &url[host..].replacen(&format!("%{scope}]"), "]", 1);
    (cut, format!("%{}", scope.strip_prefix("25").filter(|rest| !rest.is_empty()).unwrap_or(scope)))
}

/// An error may end up in a log: it shows no password.
fn without_password(url: &str) -> String {
    let Some(at) = url.rfind('@') else { return url.to_owned() };
    let scheme = url[..at].find("://").map_or(0, |end| end + 3);
    format!("{}…{}", &url[..scheme], &url[at..])
}

fn set_up(tls: Tls) -> Result<Arc<TlsSetup>, ConfigError> {
    // The `redis` crate's connections use the process's default provider, which may not be installed yet; an
    // error here means that it already is.
    let _ = rustls::crypto::ring::default_provider().install_default();
    TlsSetup::new(tls.pem).map(Arc::new).map_err(|e| ConfigError::new("tls", e.to_string()))
}
