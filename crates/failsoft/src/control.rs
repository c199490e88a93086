//! The control plane: questions about the cluster, asked over connections of their own, so that they
//! never stand in the way of a read. The connections are those of the `redis` crate.

mod parse;
mod resolve;

use crate::member::Opener;
use failsoft_policy::reply::{ErrorReply, classify};
use failsoft_policy::view::{ClusterInfo, NodeReport, Probe, View};
use failsoft_policy::{Endpoint, Instant, NodeKey};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use redis::{ClientTlsConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, TlsCertificates, Value};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a question got no usable answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No connection, no answer in time, or the connection broke.
    Unreachable(String),
    /// The server answered with this error line.
    Refused(String),
    /// The answer cannot be read.
    Unreadable(&'static str),
}

impl Trouble {
    /// The error reply, if the server gave one.
    pub(crate) fn error_reply(&self) -> Option<ErrorReply> {
        match self {
            Self::Refused(line) => Some(classify(line)),
            Self::Unreachable(_) | Self::Unreadable(_) => None,
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(e: RedisError) -> Self {
        match e.code() {
            // The crate keeps the server's line to itself.
            None if e.kind() == ErrorKind::AuthenticationFailed => Self::Refused(format!("WRONGPASS {}", e.category())),
            Some(code) => Self::Refused(format!("{code} {}", e.detail().unwrap_or_default())),
            None => Self::Unreachable(e.to_string()),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Refused(why) => f.write_str(why),
            Self::Unreadable(what) => write!(f, "an answer that cannot be read: {what}"),
        }
    }
}

/// At most one connection for each node, kept while it works.
pub(crate) struct Control {
    opener: Opener,
    connections: Mutex<BTreeMap<Endpoint, MultiplexedConnection>>,
    /// What those who were asked for a view last said instead: no more than the seeds and the nodes.
    refusals: Mutex<BTreeMap<Endpoint, String>>,
    /// Whether an ACL denied `CLUSTER NODES` when it was last asked for.
    epochs_denied: AtomicBool,
}

impl Control {
    pub(crate) fn new(opener: Opener) -> Self {
        Self {
            opener,
            connections: Mutex::default(),
            refusals: Mutex::default(),
            epochs_denied: AtomicBool::new(false),
        }
    }

    /// Drops all connections.
    pub(crate) fn close(&self) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Drops the connections to nodes that are no longer known.
    pub(crate) fn keep_only(&self, known: &[Endpoint]) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        // As long as no node is known, the seeds' own words are all there is.
        refusals.retain(|e, _| known.is_empty() || known.contains(e));
        drop(refusals);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).retain(|e, _| known.contains(e));
    }

    /// One node's view of the cluster, with config epochs if asked for.
    pub(crate) async fn view(&self, via: &Endpoint, epochs: bool) -> Result<View, Trouble> {
        let asked_at = self.now();
        let result = match self.connection(via).await {
            Ok(mut connection) => self.ask_view(&mut connection, via, asked_at, epochs).await,
            Err(trouble) => Err(trouble),
        };
        self.forget_if_unreachable(via, &result);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(_) => refusals.remove(via),
            Err(trouble) => refusals.insert(via.clone(), trouble.to_string()),
        };
        drop(refusals);
        result
    }

    /// Who gave no view when last asked, and what they said or did instead.
    pub(crate) fn refusals(&self) -> BTreeMap<String, String> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().map(|(endpoint, why)| (endpoint.to_string(), why.clone())).collect()
    }

    async fn ask_view(
        &self,
        connection: &mut MultiplexedConnection,
        via: &Endpoint,
        asked_at: Instant,
        epochs: bool,
    ) -> Result<View, Trouble> {
        let mut nodes = match self.ask(connection, &["CLUSTER", "SHARDS"]).await {
            Ok(shards) => parse::shards(&shards, via)?,
            Err(Trouble::Refused(line)) if line.contains("cluster support disabled") => {
                return Ok(View { by: None, via: via.clone(), asked_at, nodes: None, info: None });
            }
            // Servers before 7.0 know only the older form.
            Err(Trouble::Refused(line)) if line.contains("ubcommand") => {
                parse::slots(&self.ask(connection, &["CLUSTER", "SLOTS"]).await?, via)?
            }
            Err(other) => return Err(other),
        };
        let by = parse::text(&self.ask(connection, &["CLUSTER", "MYID"]).await?)?;
        let mut info = None;
        if epochs && let Some(text) = self.ask_nodes(connection).await? {
            let named = nodes.into_iter().filter_map(|n| Some((n.id, n.endpoint?))).collect();
            nodes = parse::nodes(&text, via, &named)?;
            info = self.ask_info(connection).await?;
        }
        Ok(View { by: Some(by), via: via.clone(), asked_at, nodes: Some(nodes), info })
    }

    /// Asks a node for its state and, if it says that it is ready, the witness for its view.
    pub(crate) async fn probe(&self, node: NodeKey, endpoint: &Endpoint, witness: Option<&Endpoint>) -> Probe {
        let sent_at = self.now();
        let report = match self.report(endpoint).await {
            Ok(report) => Ok(report),
            Err(trouble) => Err(trouble.to_string()),
        };
        let witness = match (witness, &report) {
            (Some(witness), Ok(report)) if report.unready().is_none() => self.view(witness, true).await.ok(),
            _ => None,
        };
        Probe { node, sent_at, report, witness }
    }

    /// What a node says of itself.
    async fn report(&self, endpoint: &Endpoint) -> Result<NodeReport, Trouble> {
        let mut connection = self.connection(endpoint).await?;
        let result = self.ask_report(&mut connection, endpoint).await;
        self.forget_if_unreachable(endpoint, &result);
        result
    }

    async fn ask_report(
        &self,
        connection: &mut MultiplexedConnection,
        endpoint: &Endpoint,
    ) -> Result<NodeReport, Trouble> {
        let mut report = NodeReport { cluster_ok: true, ..NodeReport::default() };
        let mut cluster = true;
        match self.ask(connection, &["INFO"]).await {
            Ok(info) => cluster = parse::info(&parse::text(&info)?, &mut report),
            Err(Trouble::Refused(line)) if line.starts_with("NOPERM") => report.denied.push("INFO"),
            Err(other) => return Err(other),
        }
        if !cluster {
            return Ok(report);
        }
        match self.ask_info(connection).await {
            Ok(Some(info)) => {
                report.cluster_ok = info.ok;
                report.my_epoch = info.my_epoch;
                report.current_epoch = info.current_epoch;
                report.slots_pfail = info.slots_pfail;
                report.slots_fail = info.slots_fail;
            }
            Ok(None) => report.denied.push("CLUSTER INFO"),
            Err(Trouble::Refused(line)) if line.contains("cluster support disabled") => return Ok(report),
            Err(other) => return Err(other),
        }
        report.id = Some(parse::text(&self.ask(connection, &["CLUSTER", "MYID"]).await?)?);
        if report.denied.contains(&"INFO") {
            let nodes = match self.ask_nodes(connection).await? {
                Some(text) => parse::nodes(&text, endpoint, &BTreeMap::new())?,
                None => parse::shards(&self.ask(connection, &["CLUSTER", "SHARDS"]).await?, endpoint)?,
            };
            let own = nodes.into_iter().find(|n| Some(&n.id) == report.id.as_ref());
            report.primary = own.is_some_and(|n| n.role == failsoft_policy::view::Role::Primary);
        }
        if self.epochs_denied.load(Ordering::Relaxed) {
            report.denied.push("CLUSTER NODES");
            // The views have no epochs that it could be compared with.
            report.my_epoch = None;
        }
        Ok(report)
    }

    /// `CLUSTER NODES`; none where an ACL denies it: a view without epochs is better than none.
    async fn ask_nodes(&self, connection: &mut MultiplexedConnection) -> Result<Option<String>, Trouble> {
        let answer = self.ask(connection, &["CLUSTER", "NODES"]).await;
        let denied = matches!(&answer, Err(Trouble::Refused(line)) if line.starts_with("NOPERM"));
        self.epochs_denied.store(denied, Ordering::Relaxed);
        if denied { Ok(None) } else { parse::text(&answer?).map(Some) }
    }

    /// `CLUSTER INFO`; none where an ACL denies it.
    async fn ask_info(&self, connection: &mut MultiplexedConnection) -> Result<Option<ClusterInfo>, Trouble> {
        match self.ask(connection, &["CLUSTER", "INFO"]).await {
            Err(Trouble::Refused(line)) if line.starts_with("NOPERM") => Ok(None),
            answer => Ok(Some(parse::cluster_info(&parse::text(&answer?)?))),
        }
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value, Trouble> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        Ok(connection.send_packed_command(&command).await?.extract_error()?)
    }

    /// The kept connection to a node, or a new one.
    async fn connection(&self, endpoint: &Endpoint) -> Result<MultiplexedConnection, Trouble> {
        if let Some(kept) = self.connections.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint) {
            return Ok(kept.clone());
        }
        let (client, config) = self.client(endpoint)?;
        // The `redis` crate bounds the TCP connection; this bounds the handshakes after it, too.
        let limit = self.opener.config.connect_timeout();
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| Trouble::Unreachable(format!("no connection within {} ms", limit.as_millis())))??;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.insert(endpoint.clone(), connection.clone());
        Ok(connection)
    }

    fn client(&self, endpoint: &Endpoint) -> Result<(Client, AsyncConnectionConfig), Trouble> {
        let Opener { config, tls, .. } = &self.opener;
        let at = self.opener.reached_at(endpoint);
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        if let Some(user) = config.username() {
            settings = settings.set_username(user);
        }
        if let Some(password) = config.password() {
            settings = settings.set_password(password);
        }
        let mut asking = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout()))
            .set_response_timeout(Some(config.attempt_timeout().max(Duration::from_millis(50))));
        let Some(tls) = tls else {
            let info = ConnectionAddr::Tcp(at.host, at.port).into_connection_info()?.set_redis_settings(settings);
            return Ok((Client::open(info)?, asking));
        };
        let pem = tls.pem();
        let mut host = at.host.clone();
        if let Some(name) = &pem.server_name {
            // The crate checks the certificate against the host it connects to: connect to the name,
            // and let the name be resolved to the node.
            host.clone_from(name);
            asking = asking.set_dns_resolver(resolve::Always(at.host));
        }
        let insecure = pem.danger_accept_invalid_certs;
        let address = ConnectionAddr::TcpTls { host, port: at.port, insecure, tls_params: None };
        let client_tls =
            pem.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: pem.roots.clone() };
        let info = address.into_connection_info()?.set_redis_settings(settings);
        Ok((Client::build_with_tls(info, certificates)?, asking))
    }

    fn forget_if_unreachable<T>(&self, endpoint: &Endpoint, result: &Result<T, Trouble>) {
        if let Err(Trouble::Unreachable(_)) = result {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
        }
    }

    fn now(&self) -> Instant {
        self.opener.clock.now()
    }
}
