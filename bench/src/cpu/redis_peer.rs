//! The `redis` crate: its asynchronous cluster connection, one for all readers.

use super::measure::Reader;
use crate::{Problem, dataset::Entry};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, ProtocolVersion};

#[derive(Clone)]
pub(super) struct Redis(ClusterConnection);

/// Its defaults, without a response timeout as they are, with TCP_NODELAY and RESP3.
pub(super) async fn connect(nodes: &[String]) -> Result<Redis, Problem> {
    let nodes = nodes.iter().map(|node| format!("redis://{node}"));
    let client = ClusterClientBuilder::new(nodes)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .build()?;
    Ok(Redis(client.get_async_connection().await?))
}

impl Reader for Redis {
    async fn read(&mut self, entry: &Entry) -> Result<(), Problem> {
        let value: Option<Vec<u8>> = self.0.get(&*entry.key).await?;
        if entry.is(value.as_deref()) { Ok(()) } else { Err("redis: a read was no hit".into()) }
    }
}
