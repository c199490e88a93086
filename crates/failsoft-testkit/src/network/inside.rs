//! Threads that live on a host: a runtime whose sockets are opened in that host's namespace.

use std::{fs::File, io, sync::Arc};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::Error;

/// Where `ip netns` keeps its namespaces.
pub(super) const NAMESPACES: &str = "/var/run/netns";
/// As many as the machines that tests run on have cores.
const THREADS: usize = 2;

/// A runtime on a host: see [`Network::inside`](crate::Network::inside). Dropping it ends what runs on it.
#[derive(Debug)]
pub struct Inside {
    /// Something until the drop.
    runtime: Option<Runtime>,
}

impl Inside {
    pub(super) fn start(namespace: &str) -> Result<Inside, Error> {
        let path = format!("{NAMESPACES}/{namespace}");
        let file = Arc::new(File::open(&path).map_err(Error::io(path.clone()))?);
        // Once on a thread of its own, so that what goes wrong is an error; a runtime's threads have no way to say so.
        let tried = Arc::clone(&file);
        let entered = std::thread::spawn(move || enter(&tried)).join();
        entered.unwrap_or_else(|_| Err(io::Error::other("the thread ended"))).map_err(Error::io(path))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .on_thread_start(move || enter(&file).expect("a namespace that could be entered can be entered again"))
            .build();
        Ok(Inside { runtime: Some(runtime.map_err(Error::io("a runtime"))?) })
    }

    /// What it runs is on the host.
    pub fn handle(&self) -> Handle {
        self.runtime.as_ref().expect("it is there until the drop").handle().clone()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed where this may be dropped: on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Moves this thread, and only this thread, into the namespace.
#[cfg(target_os = "linux")]
fn enter(namespace: &File) -> io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd as _;

    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
