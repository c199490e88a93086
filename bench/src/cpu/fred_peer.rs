//! fred: its clustered client, one for all readers.

use super::measure::Reader;
use crate::{Problem, dataset::Entry};
use bytes::Bytes;
use fred::prelude::{Builder, Client, ClientLike, Config, KeysInterface, ServerConfig};
use fred::types::RespVersion;

#[derive(Clone)]
pub(super) struct Fred(Client);

/// Its defaults, without a command timeout as they are, with TCP_NODELAY and RESP3. One client: a pool
/// would spread the requests over more connections and more system calls.
pub(super) async fn connect(nodes: &[String]) -> Result<Fred, Problem> {
    let hosts: Vec<_> = nodes.iter().map(|node| host(node)).collect::<Result<_, _>>()?;
    let server = ServerConfig::new_clustered(hosts);
    let config = Config { server, version: RespVersion::RESP3, ..Config::default() };
    let client = Builder::from_config(config).with_connection_config(|c| c.tcp.nodelay = Some(true)).build()?;
    client.init().await?;
    Ok(Fred(client))
}

fn host(node: &str) -> Result<(String, u16), Problem> {
    let (host, port) = node.rsplit_once(':').ok_or_else(|| format!("{node} is no address"))?;
    Ok((host.to_owned(), port.parse()?))
}

impl Reader for Fred {
    async fn read(&mut self, entry: &Entry) -> Result<(), Problem> {
        // A clone of `Bytes` copies nothing: the cheapest key that fred takes.
        let value: Option<Bytes> = self.0.get(entry.key.clone()).await?;
        if entry.is(value.as_deref()) { Ok(()) } else { Err("fred: a read was no hit".into()) }
    }
}
