//! What may not arrive where, and the same as a ruleset of nftables for one host.

use std::{fmt::Write as _, net::Ipv4Addr};

/// Packets that a host does not let in.
///
/// They are dropped where they arrive: a packet dropped where it is sent would be an error to the sender.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    from: usize,
    to: usize,
    which: Which,
}

#[derive(Clone, Debug)]
enum Which {
    /// So many of a hundred.
    Percent(u8),
    /// Those of one connection: the ports at `from` and at `to`.
    Connection(u16, u16),
}

/// From each of these hosts to each of those.
pub(super) fn between(from: &[usize], to: &[usize], percent: u8) -> impl Iterator<Item = Rule> {
    let pairs = from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to)));
    let pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
    pairs.into_iter().map(move |(from, to)| Rule { from, to, which: Which::Percent(percent) })
}

/// Both directions of these connections; the first port is at `one`.
pub(super) fn silenced(one: usize, other: usize, ports: &[(u16, u16)]) -> impl Iterator<Item = Rule> {
    ports.iter().flat_map(move |&(here, there)| {
        [
            Rule { from: one, to: other, which: Which::Connection(here, there) },
            Rule { from: other, to: one, which: Which::Connection(there, here) },
        ]
    })
}

/// What `nft -f` is to read on that host, in place of what it read before.
pub(super) fn text(host: usize, rules: &[Rule], address: impl Fn(usize) -> Ipv4Addr) -> String {
    let mut text = "add table inet failsoft\ndelete table inet failsoft\ntable inet failsoft {\n".to_owned();
    text += "  chain arriving {\n    type filter hook input priority 0; policy accept;\n";
    for rule in rules.iter().filter(|rule| rule.to == host) {
        let which = match rule.which {
            Which::Percent(100) => String::new(),
            Which::Percent(percent) => format!("numgen random mod 100 < {percent} "),
            Which::Connection(from, to) => format!("tcp sport {from} tcp dport {to} "),
        };
        writeln!(text, "    ip saddr {} {which}drop", address(rule.from)).expect("writing to a String cannot fail");
    }
    text + "  }\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_of(host: usize, rules: &[Rule]) -> Vec<String> {
        let text = text(host, rules, |host| Ipv4Addr::new(198, 18, 0, host as u8));
        text.lines().filter(|line| line.ends_with("drop")).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_host_keeps_out_what_is_for_it_only() {
        let rules: Vec<_> = between(&[0], &[1, 2], 100).chain(between(&[2], &[0], 30)).collect();
        assert_eq!(rules_of(0, &rules), ["ip saddr 198.18.0.2 numgen random mod 100 < 30 drop"]);
        assert_eq!(rules_of(1, &rules), ["ip saddr 198.18.0.0 drop"]);
        assert_eq!(rules_of(3, &rules), [] as [&str; 0]);
    }

    #[test]
    fn a_host_is_not_cut_from_itself() {
        assert_eq!(between(&[0, 1], &[1, 2], 100).count(), 3);
    }

    #[test]
    fn a_connection_is_named_by_its_ports_on_both_sides() {
        let rules: Vec<_> = silenced(5, 0, &[(40_000, 7000)]).collect();
        assert_eq!(rules_of(0, &rules), ["ip saddr 198.18.0.5 tcp sport 40000 tcp dport 7000 drop"]);
        assert_eq!(rules_of(5, &rules), ["ip saddr 198.18.0.0 tcp sport 7000 tcp dport 40000 drop"]);
    }
}
