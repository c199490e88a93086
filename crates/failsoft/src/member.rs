//! The nodes as the driver holds them: their connections, opened when they are first needed.

use crate::connection::{Attempt, Failure, Lane, Phase, Pushes, SubmitError};
use crate::near::{self, Shown};
use crate::opener::{Opener, Use};
use crate::replicas::Rounds;
use arc_swap::ArcSwapOption;
use failsoft_policy::hearing::Ear;
use failsoft_policy::route::Snapshot;
use failsoft_policy::{Endpoint, Instant, NodeKey};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::Semaphore;

/// One node with its connections, one for each use.
pub(crate) struct Member {
    pub(crate) key: NodeKey,
    pub(crate) endpoint: Endpoint,
    /// Who is to answer there, once that is known.
    node_id: OnceLock<Arc<str>>,
    lanes: [ArcSwapOption<Lane>; 6],
    /// Why the last lane that did not come about was refused, or by whom.
    refusal: Mutex<Option<String>>,
    /// Held while a lane is replaced, so that two callers don't open two.
    opening: Mutex<()>,
    gone: AtomicBool,
    /// What the batches of all callers share; made by the first one.
    batches: OnceLock<Semaphore>,
    /// What its replicas are waited for.
    pub(crate) rounds: Rounds,
    /// What is known of near copies of its keys.
    pub(crate) near: Arc<Shown>,
}

impl Member {
    pub(crate) fn new(key: NodeKey, endpoint: Endpoint) -> Self {
        let lanes = std::array::from_fn(|_| ArcSwapOption::empty());
        let (node_id, refusal) = (OnceLock::new(), Mutex::new(None));
        let (opening, gone, batches) = (Mutex::new(()), AtomicBool::new(false), OnceLock::new());
        Self {
            key,
            endpoint,
            node_id,
            lanes,
            refusal,
            opening,
            gone,
            batches,
            rounds: Rounds::new(),
            near: Arc::default(),
        }
    }

    /// Submits a request on the lane for this use; a lane that is not there, or died of something that
    /// is over, is opened anew.
    #[inline]
    pub(crate) fn submit<T>(
        &self,
        of: impl Into<Use>,
        opener: &Opener,
        request: impl Fn(&Lane) -> Result<T, SubmitError>,
    ) -> Result<T, SubmitError> {
        let of = of.into();
        if let Some(lane) = &*self.lanes[of as usize].load() {
            match request(lane) {
                Err(SubmitError::Ended(_)) => {}
                taken_or_full => return taken_or_full,
            }
        }
        request(&*self.reopen(of, opener)?)
    }

    /// Submits a request on the lane of this number, which has this use, and on no other one.
    pub(crate) fn submit_on<T>(
        &self,
        of: Use,
        line: u64,
        request: impl Fn(&Lane) -> Result<T, SubmitError>,
    ) -> Result<T, SubmitError> {
        match &*self.lanes[of as usize].load() {
            Some(lane) if lane.line() == line => request(lane),
            _ => Err(SubmitError::Ended(Failure::Closed)),
        }
    }

    fn reopen(&self, of: Use, opener: &Opener) -> Result<Arc<Lane>, SubmitError> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gone.load(Ordering::Acquire) {
            return Err(SubmitError::Ended(Failure::Closed));
        }
        let place = &self.lanes[of as usize];
        if let Some(lane) = place.load_full().filter(|l| !matches!(l.state(), Phase::Ended(_))) {
            return Ok(lane);
        }
        self.note(place.load().as_deref());
        let lane = opener.open(self.key, &self.endpoint, self.node_id.get().cloned(), of, None);
        place.store(Some(Arc::clone(&lane)));
        Ok(lane)
    }

    /// Opens a lane in place of the one that there may be, for what the node tells on it; none if it is known no longer.
    pub(crate) fn listen(&self, ear: Ear, opener: &Opener, pushes: Arc<Pushes>) -> Option<Arc<Lane>> {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gone.load(Ordering::Acquire) {
            return None;
        }
        let of = Use::from(ear);
        let lane = opener.open(self.key, &self.endpoint, self.node_id.get().cloned(), of, Some(pushes));
        if let Some(before) = self.lanes[of as usize].swap(Some(Arc::clone(&lane))) {
            before.close(Failure::Closed);
        }
        Some(lane)
    }

    /// Closes the lane of this number on which the node is listened to.
    pub(crate) fn stop_listening(&self, ear: Ear, line: u64) {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &self.lanes[Use::from(ear) as usize];
        if let Some(lane) = place.load_full().filter(|lane| lane.line() == line) {
            place.store(None);
            lane.close(Failure::Closed);
        }
    }

    /// Whether a lane was opened before it was known who is to answer there, and is not checked yet.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.node_id.get().is_some() && self.unchecked().next().is_some()
    }

    /// Asks on such lanes who answers; true if it is another node than the one that is meant.
    pub(crate) async fn check(&self, attempt: Attempt) -> bool {
        let mut stranger = false;
        if let Some(meant) = self.node_id.get() {
            for lane in self.unchecked() {
                stranger |= matches!(lane.identify(meant, attempt).await, Some(Failure::Stranger(_)));
            }
        }
        stranger
    }

    fn unchecked(&self) -> impl Iterator<Item = Arc<Lane>> {
        let lanes = self.lanes.iter().filter_map(|l| l.load_full());
        lanes.filter(|l| !l.knows_who_answers() && !matches!(l.state(), Phase::Ended(_)))
    }

    /// One permit for each read of a batch that may be under way at a time.
    pub(crate) fn batches(&self, window: usize) -> &Semaphore {
        self.batches.get_or_init(|| Semaphore::new(window))
    }

    /// When the node is known to have been there, by what it answered on any of its lanes. That it tells what is
    /// invalidated says nothing of how it serves.
    pub(crate) fn contact(&self) -> Option<Instant> {
        self.lanes[..Use::Listening as usize].iter().filter_map(|l| l.load().as_ref().and_then(|l| l.contact())).max()
    }

    /// The same by what it was asked for reads and writes of keys, or when near copies of its keys were served.
    pub(crate) fn used(&self) -> Option<Instant> {
        let lanes = [Use::Owner, Use::Replica].map(|of| &self.lanes[of as usize]);
        lanes.into_iter().filter_map(|l| l.load().as_ref().and_then(|l| l.contact())).chain(self.near.used()).max()
    }

    /// Requests in flight, those that ask whether the node still tells something apart.
    pub(crate) fn in_flight(&self) -> usize {
        self.lanes[..Use::Listening as usize].iter().filter_map(|l| l.load().as_ref().map(|l| l.in_flight())).sum()
    }

    /// What the node said instead of letting us in, or who answers in its place; none once a lane is open.
    pub(crate) fn refusal(&self) -> Option<String> {
        let lanes = || self.lanes.iter().filter_map(|l| l.load_full());
        if lanes().any(|lane| lane.state() == Phase::Open) {
            return None;
        }
        let now = lanes().find_map(|lane| refusal_of(&lane));
        now.or_else(|| self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// What the node refused in the handshakes of the lanes that are open.
    pub(crate) fn refused_in_handshake(&self) -> Vec<&'static str> {
        let lanes = self.lanes.iter().filter_map(|l| l.load_full());
        let mut refused: Vec<_> =
            lanes.flat_map(|l| l.greeted().map(|g| g.refused.clone()).unwrap_or_default()).collect();
        refused.sort_unstable();
        refused.dedup();
        refused
    }

    /// Keeps in mind how a lane ended that is about to be replaced.
    fn note(&self, lane: Option<&Lane>) {
        if let Some(lane) = lane {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal_of(lane);
        }
    }

    /// The node is in trouble: reads on its lanes go elsewhere, and the next requests find new lanes.
    pub(crate) fn fail_over(&self) {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        for place in &self.lanes {
            let Some(lane) = place.load_full() else { continue };
            lane.fail_over();
            if matches!(lane.state(), Phase::Ended(_)) {
                self.note(Some(&lane));
                place.store(None);
            }
        }
    }

    /// Closes the lane for this use: the next request opens a new one.
    pub(crate) fn renew(&self, of: impl Into<Use>) {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = self.lanes[of.into() as usize].swap(None) {
            lane.close(Failure::Closed);
        }
    }

    /// Closes the lanes that were opened when the node had no password yet: the next ones will say it.
    pub(crate) fn authenticate_anew(&self) {
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        for place in &self.lanes {
            let lane = place.load_full().filter(|l| l.greeted().is_some_and(|g| g.refused.contains(&"AUTH")));
            if let Some(lane) = lane {
                place.store(None);
                lane.close(Failure::Closed);
            }
        }
    }

    /// Closes the lanes for good.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        near::distrust(self);
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in self.lanes.iter().filter_map(|l| l.swap(None)) {
            self.note(Some(&lane));
            lane.close(Failure::Closed);
        }
    }
}

/// Why a lane was refused, if it was.
fn refusal_of(lane: &Lane) -> Option<String> {
    match lane.state() {
        Phase::Ended(why @ (Failure::Refused(_) | Failure::Stranger(_))) => Some(why.to_string()),
        _ => None,
    }
}

/// The routes and the nodes they name, as one value that is swapped whole.
pub(crate) struct Table {
    pub(crate) snapshot: Snapshot,
    members: Vec<Option<Arc<Member>>>,
}

impl Table {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, members: Vec::new() }
    }

    /// The next table. Nodes that are still known keep their connections; the others lose them.
    pub(crate) fn next<'a>(
        &self,
        snapshot: Snapshot,
        nodes: impl Iterator<Item = (NodeKey, &'a Endpoint, Option<&'a str>)>,
    ) -> Self {
        let mut members: Vec<Option<Arc<Member>>> = Vec::new();
        for (key, endpoint, id) in nodes {
            let place = key.index as usize;
            members.resize(members.len().max(place + 1), None);
            let kept = self.member(key).filter(|m| m.endpoint == *endpoint);
            let member = kept.map_or_else(|| Arc::new(Member::new(key, endpoint.clone())), Arc::clone);
            if let Some(id) = id {
                member.node_id.get_or_init(|| id.into());
            }
            members[place] = Some(member);
        }
        for old in self.members.iter().flatten() {
            let kept = members.get(old.key.index as usize).and_then(Option::as_ref);
            if !kept.is_some_and(|m| Arc::ptr_eq(m, old)) {
                old.retire();
            }
        }
        Self { snapshot, members }
    }

    /// The node of this name, if it is still known.
    #[inline]
    pub(crate) fn member(&self, key: NodeKey) -> Option<&Arc<Member>> {
        self.members.get(key.index as usize)?.as_ref().filter(|m| m.key == key)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use crate::Router;
    use failsoft_testkit::{Behaviour, ScriptedNode, Topology, key_in};
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_redirects_target_is_asked_who_it_is_once_that_can_be_compared() {
        let start = async || ScriptedNode::start().await.expect("a node");
        let (old, new) = (start().await, start().await);
        old.set_topology(&Topology::of(&[&old]));
        new.set_topology(&Topology::of(&[&new]));
        let key = key_in(1);
        new.set(&key, "v");
        old.on_key("GET", &key, Behaviour::error(format!("MOVED 1 {}", new.address())));
        let builder = Router::builder([old.address()]).slot_refresh_interval(Duration::from_secs(1));
        let router = builder.attempt_timeout(Duration::from_secs(4)).deadline(Duration::from_secs(16)).build();
        let router = router.expect("good settings");
        let value = router.resolve(&key).await.expect("a read").value;
        assert_eq!(value.as_deref(), Some(&b"v"[..]));
        let is_checked = || {
            let table = router.shared().table.load();
            let target = table.members().find(|m| m.endpoint.port == new.port()).expect("it was asked");
            target.node_id.get().is_some_and(|id| **id == *new.id()) && target.unchecked().next().is_none()
        };
        assert!(!is_checked(), "no view has named it yet");
        let both = Topology::new().primary(&new, 0..=100, 2).primary(&old, 101..=16_383, 1);
        old.set_topology(&both);
        new.set_topology(&both);
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while !is_checked() {
            assert!(tokio::time::Instant::now() < end, "nobody asked");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        new.wait_for("CLIENT TRACKING", 1).await.expect("it is listened to");
        assert_eq!(new.count("HELLO"), 2, "on the connection that there is");
    }
}
