//! Names of control connections, resolved as those of the reads' connections are. Every name leads to the one intended
//! host: a certificate may name something else than the address.

use crate::dns;
use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use std::net::SocketAddr;

/// The intended host, whatever name is asked for.
pub(super) struct Always(pub(super) String);

impl AsyncDNSResolver for Always {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found = dns::addresses(&self.0, port).await.map_err(RedisError::from)?;
            let found: Vec<SocketAddr> = found.iter().copied().collect();
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
