//! How connections are opened, and what each is for.

use crate::clock::Clock;
use crate::connection::{Lane, LaneConfig, Pushes, Report, TlsSetup};
use crate::endings::{Ending, Endings};
use crate::events::Observer;
use failsoft_policy::config::Config;
use failsoft_policy::hearing::Ear;
use failsoft_policy::route::Source;
use failsoft_policy::{Endpoint, NodeKey};
use std::sync::Arc;
use tokio::runtime::Handle;

/// What every connection of a router has in common.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<TlsSetup>>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    pub(crate) observer: Option<Observer>,
    pub(crate) endings: Arc<Endings>,
}

impl Opener {
    /// Where a node is really reached.
    pub(crate) fn reached_at(&self, endpoint: &Endpoint) -> Endpoint {
        let map = self.config.address_map();
        let place = map.binary_search_by(|(from, _)| from.cmp(endpoint));
        place.map_or_else(|_| endpoint.clone(), |at| map[at].1.clone())
    }

    /// Opens a connection to a node, for this use.
    pub(crate) fn open(
        &self,
        node: NodeKey,
        endpoint: &Endpoint,
        node_id: Option<Arc<str>>,
        of: Use,
        pushes: Option<Arc<Pushes>>,
    ) -> Arc<Lane> {
        let endings = Arc::clone(&self.endings);
        let report: Arc<Report> = Arc::new(move |blame| endings.push(Ending { node, blame }));
        // Servers close connections that are told more than they read: that says nothing of how the node serves.
        let report = (!matches!(of, Use::Listening | Use::Keys | Use::Events)).then_some(report);
        let config = LaneConfig {
            endpoint: self.reached_at(endpoint),
            node_id,
            readonly: of == Use::Replica,
            connect_timeout: self.config.connect_timeout(),
            attempt_timeout: self.config.attempt_timeout(),
            max_in_flight: self.config.max_in_flight() as usize,
            username: self.config.username().map(str::to_owned),
            password: self.config.password().map(str::to_owned),
            client_name: self.config.client_name().map(str::to_owned),
            tls: self.tls.clone(),
            report,
            pushes,
        };
        Lane::open(Arc::new(config), self.clock, &self.runtime)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// What the node is asked as the owner.
    Owner,
    /// What it is asked as a replica.
    Replica,
    /// Invalidations: no read stands behind thousands of them.
    Invalidations,
    /// The node tells on it what is invalidated.
    Listening,
    /// Reads whose keys the node tells of on it.
    Keys,
    /// The node tells on it which keys were evicted, or have expired.
    Events,
}

impl From<Ear> for Use {
    fn from(ear: Ear) -> Self {
        match ear {
            Ear::Bells => Self::Listening,
            Ear::Keys => Self::Keys,
            Ear::Events => Self::Events,
        }
    }
}

impl From<Source> for Use {
    fn from(source: Source) -> Self {
        match source {
            Source::Primary => Self::Owner,
            Source::Replica => Self::Replica,
        }
    }
}
