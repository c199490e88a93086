//! From names to addresses, without letting a resolver that hangs take more than a few threads.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Lookups under way at once in this process. The system's resolver blocks a thread for each, which may be one that the
/// application needs for its own files and lookups.
const MAX_LOOKUPS: usize = 8;

static PERMITS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);
/// Lookups under way: one for a name, however many ask.
static UNDER_WAY: Mutex<BTreeMap<(String, u16), Answer>> = Mutex::new(BTreeMap::new());

type Answer = watch::Receiver<Option<Result<Arc<[SocketAddr]>, Arc<str>>>>;

/// The addresses of a host. An address needs no lookup; a name that hangs keeps its caller waiting, who bounds that.
///
/// # Errors
/// What the resolver says.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Arc::new([SocketAddr::new(ip, port)]));
    }
    look_up(host, port, |host, port| (host, port).to_socket_addrs().map(Iterator::collect)).await
}

async fn look_up(
    host: &str,
    port: u16,
    resolver: fn(&str, u16) -> io::Result<Arc<[SocketAddr]>>,
) -> io::Result<Arc<[SocketAddr]>> {
    let name = (host.to_owned(), port);
    let under_way = || UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let joined = under_way().get(&name).cloned();
        if let Some(mut answer) = joined {
            return match answer.wait_for(Option::is_some).await.map(|found| found.clone()) {
                Ok(Some(found)) => found.map_err(|why| io::Error::other(why.to_string())),
                _ => Err(io::Error::other("the lookup of the name was given up")),
            };
        }
        let permit = PERMITS.acquire().await.map_err(io::Error::other)?;
        let (sender, receiver) = watch::channel(None);
        let mut lookups = under_way();
        // Another task may have begun this lookup while we waited for a place.
        if lookups.contains_key(&name) {
            continue;
        }
        lookups.insert(name.clone(), receiver);
        drop(lookups);
        let ended = Ended(name.clone());
        tokio::task::spawn_blocking(move || {
            // Held until the resolver returns, even if its callers gave up.
            let _permit = permit;
            let found = resolver(&ended.0.0, ended.0.1).map_err(|e| e.to_string().into());
            sender.send_replace(Some(found));
        });
    }
}

/// Ends a lookup's entry, even if the runtime drops the task.
struct Ended((String, u16));

impl Drop for Ended {
    fn drop(&mut self) {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn an_address_needs_no_lookup_and_a_name_is_looked_up() {
        let taken = PERMITS.acquire_many(MAX_LOOKUPS as u32).await.unwrap();
        assert_eq!(*addresses("127.0.0.1", 7).await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 7))]);
        assert_eq!(addresses("::1", 7).await.unwrap().len(), 1);
        drop(taken);
        assert!(addresses("localhost", 7).await.unwrap().iter().all(|a| a.ip().is_loopback()));
    }

    #[tokio::test]
    async fn a_name_that_hangs_takes_one_thread_however_many_ask() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static HANGS: AtomicBool = AtomicBool::new(true);
        let resolver: fn(&str, u16) -> io::Result<Arc<[SocketAddr]>> = |_, port| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            while HANGS.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Arc::new([SocketAddr::from(([127, 0, 0, 2], port))]))
        };
        let callers: Vec<_> = (0..100).map(|_| tokio::spawn(look_up("hangs.test", 7, resolver))).collect();
        while CALLS.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::task::yield_now().await;
        assert_eq!(*addresses("127.0.0.1", 7).await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 7))]);
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
        HANGS.store(false, Ordering::SeqCst);
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().len(), 1);
        }
    }
}
