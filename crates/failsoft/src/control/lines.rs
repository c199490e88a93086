//! The control plane's connections: at most one for each node, kept while it works, those of the `redis` crate.

use super::question::{Answer, Question, wants_authentication};
use super::resolve;
use super::trouble::Trouble;
use crate::connection::keepalive;
use crate::opener::Opener;
use failsoft_policy::Endpoint;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use redis::{ProtocolVersion, RedisConnectionInfo, TlsCertificates, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the module.
pub(super) struct Lines {
    opener: Opener,
    kept: Mutex<BTreeMap<Endpoint, MultiplexedConnection>>,
}

impl Lines {
    pub(super) fn new(opener: Opener) -> Self {
        Self { opener, kept: Mutex::default() }
    }

    /// Asks in one write, so that the server answers with little more work than for one question. A connection that
    /// was closed or forgotten on the way while it was idle, or whose server wants a password by now, says nothing of
    /// the node: the questions are put once more, on a new one.
    pub(super) async fn ask(&self, node: &Endpoint, questions: &[Question]) -> Result<Vec<Answer>, Trouble> {
        let kept = self.lock().get(node).cloned();
        if let Some(mut kept) = kept {
            match exchange(&mut kept, questions).await {
                Ok(said) if refused_for_want_of_password(&said).is_none() => return Ok(said),
                Ok(_) | Err(_) => self.lock().remove(node),
            };
        }
        let mut connection = self.open(node).await?;
        let said = exchange(&mut connection, questions).await?;
        if let Some(line) = refused_for_want_of_password(&said) {
            return Err(Trouble::Refused(line));
        }
        self.lock().insert(node.clone(), connection);
        Ok(said)
    }

    pub(super) fn keep_only(&self, nodes: &BTreeSet<&Endpoint>) {
        self.lock().retain(|node, _| nodes.contains(node));
    }

    /// Drops all connections.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    async fn open(&self, node: &Endpoint) -> Result<MultiplexedConnection, Trouble> {
        let (client, config) = self.client(node)?;
        // The `redis` crate bounds the TCP connection; this bounds the handshakes after it, too.
        let limit = self.opener.config.connect_timeout();
        let opening = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            self.authenticate(&mut connection).await.map(|()| connection)
        };
        let opened = tokio::time::timeout(limit, opening).await;
        opened.unwrap_or_else(|_| Err(Trouble::Late(format!("no connection within {} ms", limit.as_millis()))))
    }

    /// Sends the password. A server that has none yet goes on without; that it has none shows in what it answers to
    /// those who have not authenticated, whatever it says to the password.
    async fn authenticate(&self, connection: &mut MultiplexedConnection) -> Result<(), Trouble> {
        let config = &self.opener.config;
        let Some(password) = config.password() else { return Ok(()) };
        let mut auth = Cmd::new();
        auth.arg("AUTH");
        config.username().into_iter().chain([password]).for_each(|word| {
            auth.arg(word);
        });
        let mut ping = Cmd::new();
        ping.arg("PING");
        let said = send(connection, vec![auth, ping]).await?;
        match &said[..] {
            [Err(line), _] if line.starts_with("WRONGPASS") => Err(Trouble::Refused(without(line, password))),
            [Err(line), Err(ping)] if wants_authentication(ping) => Err(Trouble::Refused(without(line, password))),
            _ => Ok(()),
        }
    }

    fn client(&self, node: &Endpoint) -> Result<(Client, AsyncConnectionConfig), Trouble> {
        let Opener { config, tls, .. } = &self.opener;
        let at = self.opener.reached_at(node);
        let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
        let info = |address: ConnectionAddr| -> Result<ConnectionInfo, Trouble> {
            Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp))
        };
        let asking = AsyncConnectionConfig::new()
            .set_dns_resolver(resolve::Always(at.host.clone()))
            .set_connection_timeout(Some(config.connect_timeout()))
            .set_response_timeout(Some(config.attempt_timeout().max(Duration::from_millis(50))));
        let Some(tls) = tls else {
            return Ok((Client::open(info(ConnectionAddr::Tcp(at.host, at.port))?)?, asking));
        };
        let pem = tls.pem();
        // The crate checks the certificate against the host it connects to: connect to the name, and let the name be
        // resolved to the node.
        let host = pem.server_name.clone().unwrap_or(at.host);
        let insecure = pem.danger_accept_invalid_certs;
        let address = ConnectionAddr::TcpTls { host, port: at.port, insecure, tls_params: None };
        let client_tls =
            pem.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: pem.roots.clone() };
        Ok((Client::build_with_tls(info(address)?, certificates)?, asking))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Endpoint, MultiplexedConnection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(connection: &mut MultiplexedConnection, questions: &[Question]) -> Result<Vec<Answer>, Trouble> {
    send(connection, questions.iter().map(|q| q.command()).collect()).await
}

async fn send(connection: &mut MultiplexedConnection, commands: Vec<Cmd>) -> Result<Vec<Answer>, Trouble> {
    let asked = commands.len();
    let mut pipeline = redis::Pipeline::with_capacity(asked);
    commands.into_iter().for_each(|command| {
        pipeline.add_command(command);
    });
    let said = connection.send_packed_commands(&pipeline, 0, asked).await?;
    if said.len() != asked {
        return Err(Trouble::Unreadable("as many answers as questions"));
    }
    Ok(said.into_iter().map(answer).collect())
}

/// An error reply as the server's own line.
fn answer(value: Value) -> Answer {
    match value {
        Value::ServerError(error) => Err(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        value => Ok(value),
    }
}

/// Some servers repeat the arguments of a command they do not know.
fn without(line: &str, password: &str) -> String {
    if password.is_empty() { line.to_owned() } else { line.replace(password, "***") }
}

fn refused_for_want_of_password(said: &[Answer]) -> Option<String> {
    said.iter().filter_map(|answer| answer.as_ref().err()).find(|line| wants_authentication(line)).cloned()
}
