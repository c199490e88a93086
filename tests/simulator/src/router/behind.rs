//! Reads that their primary served, and whose key is loaded anew behind them (`early_refresh`).

use super::call::Call;
use super::state::Caller;
use crate::sim::Sim;
use failsoft_policy::read::Answer;
use failsoft_policy::route::Source;

impl Sim<'_> {
    /// A read was served: some have their callbacks run behind them. How near a key is to its end is not in the model.
    pub(super) fn go_behind(&mut self, r: usize, call: &Call) {
        let (Some((node, _, Source::Primary, Answer::Value)), Some(value)) = (&call.last, call.value) else { return };
        let (node, router) = (*node, &mut self.routers[r]);
        let eager = router.config.early_refresh() > 0.0 && router.config.fill();
        let callback = router.callers.get(call.caller as usize).and_then(Option::as_ref).and_then(|c| c.callback);
        // Afterwards everybody waits until the replicas have all that was written.
        let over = self.now >= self.plan.heals;
        if over || !eager || callback.is_none() || !call.tag.is_multiple_of(3) {
            return;
        }
        let serial = router.next_tag();
        let caller = Caller { over: Some(value), ..Caller::new(serial, self.now, router.suspended, callback) };
        let id = router.new_caller(caller);
        self.trace.say(self.now, || format!("router {r}: caller {id} loads key {} anew, behind a read", call.key));
        self.join(r, id, vec![(call.key, Some(node))]);
    }
}
