//! What a node says of itself, from whichever commands it allows; what is missing is named in the report.

use super::Control;
use super::parse;
use super::question::{Answers, Question};
use super::trouble::Trouble;
use super::views::{Found, id_of};
use failsoft_policy::Endpoint;
use failsoft_policy::view::{NodeReport, Role, ViewNode};
use std::sync::atomic::Ordering;

impl Control {
    pub(super) async fn ask_report(&self, node: &Endpoint) -> Result<NodeReport, Trouble> {
        let mut report = NodeReport { cluster_ok: true, ..NodeReport::default() };
        let mut said = self.ask(node, &[Question::Info, Question::ClusterInfo, Question::MyId]).await?;
        match said.take_or_give_up(Question::Info)? {
            Ok(info) if !parse::info(&parse::text(&info)?, &mut report) => {
                report.standalone = true;
                return Ok(report);
            }
            Ok(_) => {}
            Err(_) => {
                report.lack_info(Question::Info.name());
                if !self.role_by_other_means(node, &mut report).await? {
                    return Ok(report);
                }
            }
        }
        match said.take(Question::ClusterInfo) {
            Ok(info) => {
                let info = parse::cluster_info(&parse::text(&info)?);
                report.cluster_ok = info.ok;
                report.my_epoch = info.my_epoch;
                report.current_epoch = info.current_epoch;
                report.slots_pfail = info.slots_pfail;
                report.slots_fail = info.slots_fail;
            }
            Err(line) if !report.lack_cluster_info(Question::ClusterInfo.name(), &line) => return Ok(report),
            Err(_) => {}
        }
        Self::identify(&mut said, &mut report);
        if self.without_epochs.load(Ordering::Relaxed) {
            report.lack_epochs(Question::Nodes.name());
        }
        if self.denied().has_all(node, &[Question::Shards, Question::Slots]) {
            report.lack_maps(Question::Slots.name());
        }
        Ok(report)
    }

    fn identify(said: &mut Answers, report: &mut NodeReport) {
        let answer = said.take(Question::MyId);
        if let Err(line) = &answer {
            report.lack_id(Question::MyId.name(), line);
        }
        report.id = id_of(answer).or(report.id.take());
    }

    /// The role of a node whose `INFO` is refused, from the cheapest command that tells it; false if it is a server
    /// without cluster mode.
    async fn role_by_other_means(&self, node: &Endpoint, report: &mut NodeReport) -> Result<bool, Trouble> {
        if self.ask(node, &[Question::Role]).await?.take(Question::Role).is_ok_and(|said| parse::role(&said, report)) {
            return Ok(true);
        }
        if let Ok(said) = self.ask(node, &[Question::Hello]).await?.take(Question::Hello) {
            let greeting = parse::hello(&said);
            if let Some(primary) = greeting.primary {
                report.primary = primary;
                return Ok(!greeting.standalone);
            }
        }
        let mut said = self.ask(node, &[Question::Shards, Question::MyId]).await?;
        let id = id_of(said.take(Question::MyId));
        match self.find_map(node, said.take_or_give_up(Question::Shards)?).await? {
            Found::Standalone => return Ok(false),
            Found::Map(map) => {
                let id = id.or_else(|| map.id_at(node));
                report.primary = map.nodes.iter().any(|n| Some(&n.id) == id.as_ref() && is_primary(n));
                return Ok(true);
            }
            Found::Nothing(_) => {}
        }
        match self.ask(node, &[Question::Nodes]).await?.take_or_give_up(Question::Nodes)? {
            Ok(text) => {
                let listed = parse::nodes(&parse::text(&text)?, node)?;
                report.primary = listed.own_role() == Some(&Role::Primary);
                report.id = listed.myself;
                Ok(true)
            }
            Err(line) => Err(Trouble::Refused(line)),
        }
    }
}

fn is_primary(node: &ViewNode) -> bool {
    node.role == Role::Primary
}
