//! Resolves every name to one host: for certificates that name something else than the address.

use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use std::net::SocketAddr;

/// The host that is meant, whatever name is asked for.
pub(super) struct Always(pub(super) String);

impl AsyncDNSResolver for Always {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((self.0.as_str(), port)).await.map_err(RedisError::from)?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
