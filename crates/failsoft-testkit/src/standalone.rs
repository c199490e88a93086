//! One server without cluster mode, with the same faults as a cluster's node.

use std::path::{Path, PathBuf};

use redis::Value;

use crate::{
    Error, Node, Server, client,
    group::{Group, start_deadline},
    settings::Settings,
    tls::Tls,
};

/// A plain server on 127.0.0.1. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct Standalone {
    group: Group,
}

/// Sets up a [`Standalone`].
#[derive(Debug, Default)]
#[must_use = "a server is started by `start`"]
pub struct StandaloneBuilder {
    settings: Settings,
    tls: Option<PathBuf>,
}

impl Standalone {
    /// Says what the server is to look like.
    pub fn builder() -> StandaloneBuilder {
        StandaloneBuilder::default()
    }

    /// Starts a server with more lines for its configuration file.
    pub async fn start(server: &Server, config: &[(&str, &str)]) -> Result<Standalone, Error> {
        let builder = Standalone::builder().server(server);
        config.iter().fold(builder, |builder, (key, value)| builder.config(key, value)).start().await
    }

    /// Its address, port and process id.
    pub fn node(&self) -> &Node {
        &self.group.nodes()[0]
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.node().address()
    }

    /// SIGKILL; on return the process is gone.
    pub async fn kill(&self) -> Result<(), Error> {
        self.group.kill([0]).await
    }

    /// SIGSTOP: its connections stay open and nothing is answered.
    pub fn hang(&self) -> Result<(), Error> {
        self.group.hang(true, [0])
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<(), Error> {
        self.group.hang(false, [0])
    }

    /// Starts it again after a kill, on the same port, empty.
    pub async fn restart(&self) -> Result<(), Error> {
        self.group.restart([0], start_deadline()).await
    }

    /// Any command, with a limit of 2 s. An error reply is an [`Error::Command`].
    pub async fn command<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<Value, Error> {
        self.node().ask(words, client::LIMIT).await
    }
}

impl StandaloneBuilder {
    /// The server to run. Default: what [`Server::find`] finds without a choice.
    pub fn server(mut self, server: &Server) -> Self {
        self.settings.server = Some(server.clone());
        self
    }

    /// One more line of the configuration file, after the kit's own.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.settings.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How the kit's own commands authenticate; an empty user means the default one.
    pub fn auth(mut self, user: &str, password: &str) -> Self {
        self.settings.auth = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// TLS with `ca.crt`, `server.crt` and `server.key` (PEM) of that folder; the certificate has to be
    /// valid for 127.0.0.1.
    pub fn tls(mut self, folder: impl AsRef<Path>) -> Self {
        self.tls = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Starts the server; on return it answers. The limit is 30 s.
    pub async fn start(mut self) -> Result<Standalone, Error> {
        self.settings.tls = self.tls.as_deref().map(Tls::load).transpose()?;
        Ok(Standalone { group: Group::start(self.settings, 1, None, start_deadline()).await? })
    }
}
