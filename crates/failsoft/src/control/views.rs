//! One node's view of the cluster, from whichever commands it allows: `CLUSTER NODES`, `CLUSTER SHARDS` or
//! `CLUSTER SLOTS`, each by itself.

use super::Control;
use super::parse::{self, Listed, Map};
use super::question::{Answer, Question, is_unwilling};
use super::trouble::Trouble;
use failsoft_policy::reply::is_cluster_disabled;
use failsoft_policy::view::{ClusterInfo, View, ViewNode};
use failsoft_policy::{Endpoint, Instant};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The result of the search for a map without epochs.
pub(super) enum Found {
    Map(Map),
    /// A server without cluster mode.
    Standalone,
    /// Everything was refused, at first so.
    Nothing(String),
}

impl Control {
    pub(super) async fn ask_view(&self, via: &Endpoint, asked_at: Instant, epochs: bool) -> Result<View, Trouble> {
        let view = |by, nodes, info| View { by, via: via.clone(), asked_at, nodes, info };
        if epochs {
            let mut said = self.ask(via, &[Question::Nodes, Question::MyId, Question::ClusterInfo]).await?;
            let nodes = said.take_or_give_up(Question::Nodes)?;
            self.without_epochs.store(nodes.is_err(), Ordering::Relaxed);
            if let Ok(text) = nodes {
                let listed = parse::nodes(&parse::text(&text)?, via)?;
                let info = info_of(said.take(Question::ClusterInfo))?;
                let by = id_of(said.take(Question::MyId)).or_else(|| listed.myself.clone());
                return Ok(view(by, Some(self.name(via, listed).await?), info));
            }
        }
        let mut said = self.ask(via, &[Question::Shards, Question::MyId]).await?;
        let id = id_of(said.take(Question::MyId));
        match self.find_map(via, said.take_or_give_up(Question::Shards)?).await? {
            Found::Map(map) => {
                let by = id.or_else(|| map.id_at(via));
                self.names.keep(map.names, &BTreeMap::new(), asked_at);
                return Ok(view(by, Some(map.nodes), None));
            }
            Found::Standalone => return Ok(view(None, None, None)),
            Found::Nothing(line) if epochs => {
                return self.without_map(via, line).await.map(|()| view(None, None, None));
            }
            Found::Nothing(_) => {}
        }
        // Dearer than the others, but all there is.
        match self.ask(via, &[Question::Nodes]).await?.take_or_give_up(Question::Nodes)? {
            Ok(text) => {
                let listed = parse::nodes(&parse::text(&text)?, via)?;
                let by = id.or_else(|| listed.myself.clone());
                Ok(view(by, Some(listed.into_nodes(&BTreeMap::new())), None))
            }
            Err(line) => self.without_map(via, line).await.map(|()| view(None, None, None)),
        }
    }

    /// A map from the answer to `CLUSTER SHARDS`, or else from `CLUSTER SLOTS`.
    pub(super) async fn find_map(&self, via: &Endpoint, shards: Answer) -> Result<Found, Trouble> {
        let shards = match shards {
            Ok(said) => Ok(parse::shards(&said, via, self.tls())?),
            Err(line) if is_cluster_disabled(&line) => return Ok(Found::Standalone),
            Err(line) => Err(line),
        };
        if let Ok(map) = shards {
            if !map.is_doubtful() {
                return Ok(Found::Map(map));
            }
            let other = match self.ask(via, &[Question::Slots]).await?.take(Question::Slots) {
                Ok(said) => parse::slots(&said, via)?,
                Err(_) => Map::default(),
            };
            return Ok(Found::Map(if other.covered() > map.covered() { other } else { map }));
        }
        match self.ask(via, &[Question::Slots]).await?.take_or_give_up(Question::Slots)? {
            Ok(said) => Ok(Found::Map(parse::slots(&said, via)?)),
            Err(line) if is_cluster_disabled(&line) => Ok(Found::Standalone),
            Err(line) => Ok(Found::Nothing(line)),
        }
    }

    /// The nodes of a view with epochs, under the names that their server prefers, as far as it says them.
    async fn name(&self, via: &Endpoint, listed: Listed) -> Result<Vec<ViewNode>, Trouble> {
        let now = self.now();
        let (named, will_do) = self.names.of(&listed.addresses, now);
        if will_do {
            return Ok(listed.into_nodes(&named));
        }
        let shards = self.ask(via, &[Question::Shards]).await?.take(Question::Shards);
        match self.find_map(via, shards).await? {
            Found::Map(map) => self.names.keep(map.names, &listed.addresses, now),
            // No server says: what others said holds, and the question is not put again for a while.
            Found::Standalone | Found::Nothing(_) => self.names.renew(&listed.addresses, now),
        }
        let (named, _) = self.names.of(&listed.addresses, now);
        Ok(listed.into_nodes(&named))
    }

    /// Whether a server that gives no map has none to give: it is not in cluster mode, or stands for a whole one.
    async fn without_map(&self, via: &Endpoint, line: String) -> Result<(), Trouble> {
        let mut said = self.ask(via, &[Question::Info, Question::Hello]).await?;
        let info = said.take(Question::Info).ok().and_then(|info| parse::text(&info).ok());
        let alone = match info {
            Some(info) => parse::is_without_cluster(&info),
            None => said.take(Question::Hello).is_ok_and(|said| parse::hello(&said).standalone),
        };
        if alone { Ok(()) } else { Err(Trouble::Refused(line)) }
    }
}

/// The id in the answer to `CLUSTER MYID`, where it is given.
pub(super) fn id_of(answer: Answer) -> Option<String> {
    answer.ok().and_then(|id| parse::text(&id).ok()).filter(|id| !id.is_empty())
}

/// What a `CLUSTER INFO` said; none where it is refused.
pub(super) fn info_of(answer: Answer) -> Result<Option<ClusterInfo>, Trouble> {
    match answer {
        Err(line) if is_unwilling(&line) => Err(Trouble::Refused(line)),
        Err(_) => Ok(None),
        Ok(said) => Ok(Some(parse::cluster_info(&parse::text(&said)?))),
    }
}
