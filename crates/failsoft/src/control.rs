//! The control plane: questions about the cluster, asked over connections of their own, so that they
//! never stand in the way of a read. The connections are those of the `redis` crate.

mod names;
mod parse;
mod resolve;

use crate::member::Opener;
use failsoft_policy::reply::{ErrorReply, classify};
use failsoft_policy::view::{ClusterInfo, NodeReport, Probe, View};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason};
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
    /// Why a node gets no reads when a probe ends so.
    pub(crate) fn reason(&self) -> Reason {
        match self.error_reply() {
            Some(ErrorReply::Unwilling) => Reason::Loading,
            Some(ErrorReply::ClusterDown) => Reason::ClusterDown,
            Some(_) => Reason::ErrorReply,
            None => Reason::Connection,
        }
    }

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

const INFO: &[&str] = &["INFO"];
const CLUSTER_INFO: &[&str] = &["CLUSTER", "INFO"];
const MYID: &[&str] = &["CLUSTER", "MYID"];
const NODES: &[&str] = &["CLUSTER", "NODES"];
const SHARDS: &[&str] = &["CLUSTER", "SHARDS"];
const SLOTS: &[&str] = &["CLUSTER", "SLOTS"];

/// At most one connection for each node, kept while it works.
pub(crate) struct Control {
    opener: Opener,
    connections: Mutex<BTreeMap<Endpoint, MultiplexedConnection>>,
    /// What those who were asked for a view last said instead: no more than the seeds and the nodes.
    refusals: Mutex<BTreeMap<Endpoint, String>>,
    names: names::Names,
    /// Whether an ACL denied `CLUSTER NODES` when it was last asked for.
    epochs_denied: AtomicBool,
}

impl Control {
    pub(crate) fn new(opener: Opener) -> Self {
        Self {
            opener,
            connections: Mutex::default(),
            refusals: Mutex::default(),
            names: names::Names::default(),
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
        let view = |by, nodes, info| View { by: Some(by), via: via.clone(), asked_at, nodes: Some(nodes), info };
        let mut ballot = None;
        if epochs {
            let [nodes, id, info] = self.ask_all(connection, [NODES, MYID, CLUSTER_INFO]).await?;
            if let Some(text) = self.epochs_of(nodes)? {
                let info = info_of(info)?;
                if let Some(named) = self.names.of(&text) {
                    return Ok(view(parse::text(&id?)?, parse::nodes(&text, via, &named)?, info));
                }
                ballot = Some((text, info));
            }
        }
        let [shards, id] = self.ask_all(connection, [SHARDS, MYID]).await?;
        let nodes = match shards {
            Ok(shards) => parse::shards(&shards, via)?,
            Err(Trouble::Refused(line)) if line.contains("cluster support disabled") => {
                return Ok(View { by: None, via: via.clone(), asked_at, nodes: None, info: None });
            }
            // Servers before 7.0 know only the older form.
            Err(Trouble::Refused(line)) if line.contains("ubcommand") => {
                let [slots] = self.ask_all(connection, [SLOTS]).await?;
                parse::slots(&slots?, via)?
            }
            Err(other) => return Err(other),
        };
        self.names.keep(&nodes, ballot.as_ref().map(|(text, _)| text.as_str()));
        let by = parse::text(&id?)?;
        let Some((text, info)) = ballot else { return Ok(view(by, nodes, None)) };
        let named = nodes.into_iter().filter_map(|n| Some((n.id, n.endpoint?))).collect();
        Ok(view(by, parse::nodes(&text, via, &named)?, info))
    }

    /// Asks a node for its state and, if it says that it is ready, the witness for its view.
    pub(crate) async fn probe(&self, node: NodeKey, endpoint: &Endpoint, witness: Option<&Endpoint>) -> Probe {
        let sent_at = self.now();
        let report = match self.report(endpoint).await {
            Ok(report) => Ok(report),
            Err(trouble) => Err(trouble.reason()),
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
        let [info, cluster_info, id] = self.ask_all(connection, [INFO, CLUSTER_INFO, MYID]).await?;
        match info {
            Ok(info) => cluster = parse::info(&parse::text(&info)?, &mut report),
            Err(Trouble::Refused(line)) if line.starts_with("NOPERM") => report.denied.push("INFO"),
            Err(other) => return Err(other),
        }
        if !cluster {
            return Ok(report);
        }
        match info_of(cluster_info) {
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
        report.id = Some(parse::text(&id?)?);
        if report.denied.contains(&"INFO") {
            let [nodes] = self.ask_all(connection, [NODES]).await?;
            let nodes = match self.epochs_of(nodes)? {
                Some(text) => parse::nodes(&text, endpoint, &BTreeMap::new())?,
                None => {
                    let [shards] = self.ask_all(connection, [SHARDS]).await?;
                    parse::shards(&shards?, endpoint)?
                }
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

    /// The text of a `CLUSTER NODES`; none where an ACL denies it: a view without epochs is better than none.
    fn epochs_of(&self, nodes: Result<Value, Trouble>) -> Result<Option<String>, Trouble> {
        let denied = matches!(&nodes, Err(Trouble::Refused(line)) if line.starts_with("NOPERM"));
        self.epochs_denied.store(denied, Ordering::Relaxed);
        match nodes {
            // What a server without cluster mode says to the next question tells the kind.
            Err(Trouble::Refused(line)) if denied || line.contains("cluster support disabled") => Ok(None),
            nodes => parse::text(&nodes?).map(Some),
        }
    }

    /// Sends questions in one write, so that the server answers them with little more work than one.
    async fn ask_all<const N: usize>(
        &self,
        connection: &mut MultiplexedConnection,
        questions: [&[&str]; N],
    ) -> Result<[Result<Value, Trouble>; N], Trouble> {
        let mut pipeline = redis::Pipeline::with_capacity(N);
        for words in questions {
            let mut command = Cmd::new();
            words.iter().for_each(|word| {
                command.arg(*word);
            });
            pipeline.add_command(command);
        }
        let answers = connection.send_packed_commands(&pipeline, 0, N).await?;
        let answers: Vec<_> = answers.into_iter().map(|a| a.extract_error().map_err(Trouble::from)).collect();
        answers.try_into().map_err(|_| Trouble::Unreadable("as many answers as questions"))
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

/// What a `CLUSTER INFO` said; none where an ACL denies it.
fn info_of(answer: Result<Value, Trouble>) -> Result<Option<ClusterInfo>, Trouble> {
    match answer {
        Err(Trouble::Refused(line)) if line.starts_with("NOPERM") => Ok(None),
        answer => Ok(Some(parse::cluster_info(&parse::text(&answer?)?))),
    }
}
