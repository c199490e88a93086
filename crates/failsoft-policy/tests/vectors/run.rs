//! Carries out one vector: events in, what the policy answers compared with what is expected.

use crate::replicas::Replicas;
use crate::schema::{File, Nodes, Step, Vector, View as ViewText};
use crate::words::{Names, answer, endpoint, name_of, reason, report, returned, view_node};
use bytes::Bytes;
use failsoft_policy::action::{Action, Event};
use failsoft_policy::cluster::{Cluster, Command};
use failsoft_policy::config::Config;
use failsoft_policy::connection::Attempt;
use failsoft_policy::lease::{self, Given, Lease, Lessor, Missing, Taken, Taking, token};
use failsoft_policy::read::Read;
use failsoft_policy::route::Bounds;
use failsoft_policy::tend::{Tend, Tending};
use failsoft_policy::view::{ClusterInfo, Probe, View};
use failsoft_policy::wire::{self, Tenure};
use failsoft_policy::write::{Write, WriteAction, WriteEvent};
use failsoft_policy::{Endpoint, Instant, NodeKey, Reason, ServedBy, Slot, Turn};
use std::time::Duration;

mod tend;

/// The key of all calls.
pub(crate) const KEY: Bytes = Bytes::from_static(b"k");

/// The number of the token that the call sends.
const OWN: u64 = 7;

pub(crate) enum Call {
    None,
    Read(Read),
    Write(Write),
    Lease(Taking, Attempt),
    Tend(Tend, Tending, Attempt),
}

pub(crate) enum Done {
    None,
    Said(String),
    Read(Action),
    Write(WriteAction),
}

pub(crate) struct Run<'v> {
    file: &'v File,
    pub(crate) config: Config,
    pub(crate) cluster: Cluster,
    pub(crate) names: Names,
    round: u64,
    pub(crate) call: Call,
    pub(crate) replicas: Replicas,
}

/// Gives what was wrong, with the step.
pub(crate) fn run(file: &File, vector: &Vector) -> Result<(), String> {
    let mut config = Config::default();
    // Nobody listens to a node here, and most vectors are about something else than what follows from that.
    config.set_text("staleness_budget_ms", "30000").map_err(|e| e.to_string())?;
    for (key, value) in &vector.settings {
        config.set_text(key, value).map_err(|e| e.to_string())?;
    }
    let none = Nodes::new();
    let nodes = vector.cluster.as_ref().map_or(&none, |c| &file.clusters[c]);
    let seeds: Vec<String> = vector.seeds.clone().unwrap_or_else(|| nodes.keys().cloned().collect());
    let cluster = Cluster::new(&config, seeds.iter().map(|s| endpoint(s)).collect(), Instant::ZERO);
    let replicas = Replicas::default();
    let mut run = Run { file, config, cluster, names: Names::default(), round: 0, call: Call::None, replicas };
    if let Some(name) = &vector.cluster {
        run.join(name, nodes, &vector.silent);
    }
    for (number, step) in vector.steps.iter().enumerate() {
        run.step(step).map_err(|e| format!("  step {} at {} ms: {e}", number + 1, step.at_ms))?;
    }
    Ok(())
}

impl Run<'_> {
    /// At 0 ms more than half of the seeds that are asked give their view, and every node answers its first probe,
    /// unless `silent`.
    fn join(&mut self, name: &str, nodes: &Nodes, silent: &[String]) {
        let now = Instant::ZERO;
        let seeds: Vec<Endpoint> = self
            .commands(now, 0)
            .into_iter()
            .find_map(|c| if let Command::Refresh { targets, .. } = c { Some(targets) } else { None })
            .unwrap_or_default();
        for seed in seeds.iter().take(seeds.len() / 2 + 1) {
            let from = name_of(seed);
            if silent.contains(&from) || nodes.get(&from).is_none_or(|n| n.contains("failed")) {
                continue;
            }
            let view = self.view(&view_text(&from, name), now);
            self.cluster.handle_view(self.round, view, now);
        }
        self.cluster.handle_refresh_done(self.round, now);
        self.commands(now, 0);
        for (id, text) in nodes {
            let says = if silent.contains(id) { "none".into() } else { own_words(text) };
            self.probe(id, &says, now, None, now);
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let now = Instant::from_millis(step.at_ms);
        let done = self.event(step, now)?;
        self.names.learn(&self.cluster);
        let got = match &done {
            Done::None => None,
            Done::Read(action) => Some(self.names.action(action)),
            Done::Write(action) => Some(self.names.write_action(*action)),
            Done::Said(text) => Some(text.clone()),
        };
        same("action", &got, &step.expect)?;
        if let Some(expected) = &step.poll {
            let commands = self.commands(now, step.dice);
            let got: Vec<String> = commands.iter().map(|c| self.names.command(c)).collect();
            same("commands", &got, expected)?;
        }
        if let (Call::Read(read), Some(expected)) = (&mut self.call, &step.notes) {
            let notes = read.take_notes();
            let text =
                |(s, r): &(_, Option<_>)| r.map_or(format!("{s}"), |r: failsoft_policy::Reason| format!("{s} {r}"));
            same("notes", &notes.iter().map(text).collect(), expected)?;
        }
        if let (Call::Read(read), Some(expected)) = (&self.call, step.attempts) {
            same("attempts", &read.attempts(), &expected)?;
        }
        if let Some(tokens) = step.tokens {
            same("retry tokens", &self.cluster.report(now).retry_tokens, &tokens)?;
        }
        if let Some(next) = step.next_ms {
            same("next timeout", &self.cluster.next_timeout(), &Some(Instant::from_millis(next)))?;
        }
        for (&number, expected) in &step.routes {
            same("route", &self.names.route(self.cluster.route(slot(number))), expected)?;
            // What the fast path looks up is the same.
            same("snapshot", &self.names.route(self.cluster.clone().snapshot().route(slot(number))), expected)?;
        }
        for (&number, expected) in &step.gates {
            let gate = self.cluster.write_gate(slot(number), now);
            same("write gate", &self.names.gate(gate), expected)?;
        }
        for (name, expected) in &step.breakers {
            let report = self.cluster.report(now);
            let node = report.nodes.iter().find(|n| n.endpoint == endpoint(name));
            same("breaker", &node.map_or("unknown", |n| n.breaker), &expected.as_str())?;
        }
        for (name, expected) in &step.ages {
            let key = self.key(name)?;
            let at = self.cluster.current_at(key);
            let owner = self.cluster.open_primary(slot(0)) == Some(key);
            let asked_as = if owner { ServedBy::Primary } else { ServedBy::Replica };
            let age = self.cluster.age(key, asked_as, at, now);
            let age = age.map_or("unknown".to_string(), |age| age.as_millis().to_string());
            same(&format!("age of {name} in ms"), &age, expected)?;
        }
        let report = self.cluster.report(now);
        for (name, expected) in &step.verdicts {
            let node = report.nodes.iter().find(|n| n.endpoint == endpoint(name));
            let verdict = node.map_or("no such node", |n| n.verdict.as_str());
            same(&format!("verdict on {name}"), &verdict, &expected.as_str())?;
        }
        if let Some(expected) = step.down {
            same("down", &report.down, &expected)?;
        }
        Ok(())
    }

    fn event(&mut self, step: &Step, now: Instant) -> Result<Done, String> {
        if let Some(number) = step.invalidated {
            self.invalidate(slot(number), step.told.as_deref(), now)?;
        }
        let contact = step.contact_ms.map(Instant::from_millis);
        if let Some(text) = &step.read {
            let mut bounds = match text.call_ms {
                Some(limit) => Bounds::of_call(&self.config, now, Duration::from_millis(limit), text.callback),
                None => Bounds::new(&self.config, now),
            };
            bounds.deadline = text.deadline_ms.map_or(bounds.deadline, Instant::from_millis);
            let mut read = Read::new(&self.config, (slot(text.slot), KEY), bounds, text.callback);
            let action = read.start(Turn { cluster: &mut self.cluster, now, dice: step.dice });
            self.call = Call::Read(read);
            return Ok(Done::Read(action));
        }
        if let Some(text) = &step.lease {
            let key = KEY;
            let by = text.by_ms.map(Instant::from_millis);
            let missing = Missing { key, node: self.key(&text.node)?, by, over: None };
            let mut turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            let of = (slot(text.slot), Bytes::copy_from_slice(&token(&self.config, OWN)));
            return Ok(Done::Said(match Taking::begin(&missing, of, &self.config, &mut turn) {
                Ok((taking, attempt)) => {
                    self.call = Call::Lease(taking, attempt);
                    format!("lease until {}", attempt.until.as_nanos() / 1_000_000)
                }
                Err(cause) => format!("refused {cause}"),
            }));
        }
        if let Some(done) = self.tend(step, now, contact)? {
            return Ok(done);
        }
        if let (Some(text), Call::Lease(taking, attempt)) = (&step.answer, &mut self.call) {
            let given = match text.as_str() {
                "token" => Given::Token(Bytes::copy_from_slice(&token(&self.config, OWN))),
                "kept by another" => Given::Token(Bytes::copy_from_slice(&wire::token(Tenure::Kept, !OWN))),
                "fixed by another" => Given::Token(Bytes::copy_from_slice(&wire::token(Tenure::Fixed, !OWN))),
                "value" => Given::Value(Bytes::from_static(b"v")),
                "held" => Given::Held,
                text => Given::Neither(answer(text)),
            };
            let mut turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            return Ok(Done::Said(match taking.on(7, given, contact, &mut turn) {
                lease::Step::Again { with_text: false } => {
                    format!("lease again until {}", attempt.until.as_nanos() / 1_000_000)
                }
                lease::Step::Again { with_text: true } => {
                    format!("lease with its script until {}", attempt.until.as_nanos() / 1_000_000)
                }
                lease::Step::Over(Taken::Leased(Lease { lessor, kept, .. })) => {
                    let kept = if kept { " kept" } else { "" };
                    format!("leased epoch {} line {}{kept}", lessor.epoch, lessor.line)
                }
                lease::Step::Over(Taken::Elsewhere(_)) => "elsewhere".to_owned(),
                lease::Step::Over(Taken::Found(_)) => "found".to_owned(),
                lease::Step::Over(Taken::Refused(cause)) => format!("refused {cause}"),
            }));
        }
        if let Some(text) = &step.write {
            let deadline = text.deadline_ms.map_or(now + self.config.deadline(), Instant::from_millis);
            let slot = slot(text.slot);
            let mut write = match &text.fill {
                Some(by) => {
                    let node = self.key(by)?;
                    let epoch = text.epoch.or_else(|| self.cluster.epoch(node)).unwrap_or(0);
                    Write::fill(&self.config, slot, Lessor { node, epoch, line: 1 }, deadline)
                }
                None if text.invalidate => Write::invalidate(&self.config, slot, deadline),
                None if text.announce => Write::announce(&self.config, slot, deadline),
                None if text.hold => Write::hold(&self.config, slot, deadline),
                None if text.lift => Write::lift(&self.config, slot, deadline),
                None => Write::set(&self.config, slot, deadline),
            };
            let action = write.start(Turn { cluster: &mut self.cluster, now, dice: step.dice });
            self.call = Call::Write(write);
            return Ok(Done::Write(action));
        }
        if let (Some(said), Call::Write(write)) = (step.answer.as_deref().and_then(returned), &mut self.call) {
            let turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            return Ok(Done::Write(write.on(WriteEvent::Returned { number: said as i64, line: 1 }, turn)));
        }
        if let Some(text) = &step.answer {
            let answer = answer(text);
            let turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            return match &mut self.call {
                Call::Read(read) => Ok(Done::Read(read.on(Event::Answered { answer, contact }, turn))),
                Call::Write(write) => {
                    Ok(Done::Write(write.on(WriteEvent::Answered { answer, line: 1, contact }, turn)))
                }
                Call::Lease(..) | Call::Tend(..) | Call::None => Err("an answer to nothing".into()),
            };
        }
        if step.waits || step.said.is_some() || step.again {
            return self.of_replicas(step, now);
        }
        if step.woken {
            let turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            return match &mut self.call {
                Call::Read(read) => Ok(Done::Read(read.on(Event::Woken, turn))),
                Call::Write(write) => Ok(Done::Write(write.on(WriteEvent::Woken, turn))),
                Call::Lease(..) | Call::Tend(..) | Call::None => Err("nobody waits".into()),
            };
        }
        if let (Some(answered), Call::Write(write)) = (step.pinged, &mut self.call) {
            let turn = Turn { cluster: &mut self.cluster, now, dice: step.dice };
            return Ok(Done::Write(write.on(WriteEvent::Pinged(answered), turn)));
        }
        self.fact(step, now, contact)?;
        Ok(Done::None)
    }

    fn fact(&mut self, step: &Step, now: Instant, contact: Option<Instant>) -> Result<(), String> {
        if let Some(text) = &step.view {
            let view = self.view(text, now);
            self.cluster.handle_view(text.round.unwrap_or(self.round), view, now);
        }
        if let Some(probe) = &step.probe {
            let witness = probe.witness.as_ref().map(|w| self.view(w, now));
            let sent_at = probe.sent_ms.map_or(now, Instant::from_millis);
            self.key(&probe.node)?;
            self.probe(&probe.node, &probe.says, sent_at, witness, now);
        }
        if step.refresh_done {
            self.cluster.handle_refresh_done(self.round, now);
        }
        if let Some((node, why)) = step.failed.as_ref().and_then(|f| f.split_once(' ')) {
            let key = self.key(node)?;
            let sent_at = step.sent_ms.map_or(now, Instant::from_millis);
            self.cluster.handle_failure(key, reason(why), sent_at, contact, now);
        }
        if let Some(node) = &step.saw {
            let key = self.key(node)?;
            self.cluster.handle_contact(key, now);
        }
        self.cluster.handle_successes(step.credit.unwrap_or(0));
        while step.spend_retries && self.cluster.take_retry() {}
        Ok(())
    }

    fn commands(&mut self, now: Instant, dice: u32) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some(command) = self.cluster.poll(now, dice) {
            if let Command::Refresh { round, .. } = command {
                self.round = round;
            }
            commands.push(command);
            assert!(commands.len() < 20_000, "poll never ends");
        }
        let next = self.cluster.next_timeout().unwrap_or(Instant::MAX);
        assert!(next > now, "after poll the next timeout is {:?} ago", now.since(next));
        self.names.learn(&self.cluster);
        commands
    }

    fn probe(&mut self, name: &str, says: &str, sent_at: Instant, witness: Option<View>, now: Instant) {
        let Ok(node) = self.key(name) else { return };
        let id = self.cluster.report(now).nodes.into_iter().find(|n| n.key == node).and_then(|n| n.id);
        let report = match says.strip_prefix("none ") {
            Some(because) => Err(reason(because)),
            None if says == "none" => Err(Reason::Connection),
            None => Ok(report(id, says)),
        };
        self.cluster.handle_probe(Probe { node, sent_at, report, witness }, now);
    }

    fn view(&self, text: &ViewText, now: Instant) -> View {
        let nodes = text.cluster.as_ref().map(|name| {
            let nodes = self.file.clusters.get(name).unwrap_or_else(|| panic!("no cluster {name}"));
            nodes.iter().map(|(id, node)| view_node(id, node, !text.without_epochs)).collect()
        });
        let by = nodes.is_some().then(|| text.by.as_ref().unwrap_or(&text.from).clone());
        let asked_at = text.asked_ms.map_or(now, Instant::from_millis);
        let info = by.as_ref().map(|_| ClusterInfo { ok: !text.says_down, ..ClusterInfo::default() });
        View { by, via: endpoint(&text.from), asked_at, nodes, info }
    }

    /// The key of the vectors is invalidated, and its node acknowledges that, or does not.
    fn invalidate(&mut self, slot: Slot, told: Option<&str>, now: Instant) -> Result<(), String> {
        let call = (slot, &KEY, now);
        self.cluster.invalidations().call(slot, &KEY, now);
        if let Some(name) = told {
            let node = self.key(name)?;
            let by = (node, self.cluster.epoch(node).unwrap_or(0));
            let reign = self.cluster.reign(slot);
            self.cluster.invalidations().told(call, by, reign, now);
            self.cluster.invalidations().ended(call, true, now);
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Result<NodeKey, String> {
        let found = self.cluster.endpoints().find(|(_, e)| **e == endpoint(name));
        found.map(|(key, _)| key).ok_or_else(|| format!("the router knows no node {name}"))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}:\n    expected {expected:?}\n    got      {got:?}")) }
}

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

fn view_text(from: &str, cluster: &str) -> ViewText {
    ViewText {
        from: from.into(),
        by: None,
        asked_ms: None,
        cluster: Some(cluster.into()),
        without_epochs: false,
        says_down: false,
        round: None,
    }
}

/// What a node says of itself that agrees with its description in the view.
fn own_words(text: &str) -> String {
    let mut words = text.split_whitespace().skip_while(|w| *w != "epoch");
    let epoch = words.nth(1).map_or(String::new(), |e| format!(" epoch {e}"));
    let role = text.split_whitespace().next().unwrap_or_default();
    format!("{role}{epoch}{}", if role == "replica" { " link_up" } else { "" })
}
