//! What nodes say about the cluster: `CLUSTER NODES` read, and keys mapped to slots.

use std::ops::RangeInclusive;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = failsoft_policy::Slot::COUNT;

/// The slot of a key (cluster specification, "Key distribution model" and "Hash tags").
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    failsoft_policy::slot::slot_of(key.as_ref()).number()
}

/// Some key that hashes to the slot: `key:` and a number.
///
/// # Panics
/// When the slot is not below 16384.
pub fn key_in(slot: u16) -> String {
    assert!(slot < SLOTS, "slot {slot}: slots are 0 to {}", SLOTS - 1);
    (0..)
        .map(|number| format!("key:{number}"))
        .find(|key| slot_of(key) == slot)
        .expect("CRC16 of growing numbers meets every slot")
}

/// One line of `CLUSTER NODES` (the command's page describes the fields).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) flags: Vec<String>,
    pub(crate) primary: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) slots: Vec<RangeInclusive<u16>>,
}

impl Line {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    pub(crate) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

/// Reads the reply of `CLUSTER NODES`; nothing if a line is not as expected.
pub(crate) fn parse(text: &str) -> Option<Vec<Line>> {
    text.lines().map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let id = words.next()?.to_owned();
    // host:port@bus-port,hostname; a node whose address is lost has port 0.
    let address = words.next()?.split('@').next()?;
    let port = address.rsplit_once(':')?.1.parse().ok()?;
    let flags = words.next()?.split(',').map(str::to_owned).collect();
    let primary = words.next().filter(|word| *word != "-").map(str::to_owned);
    let (_ping_sent, _pong_received) = (words.next()?, words.next()?);
    let epoch = words.next()?.parse().ok()?;
    let _link = words.next()?;
    // Slots that migrate stand in brackets and belong to a range as well.
    let slots = words.filter(|word| !word.starts_with('[')).map(range).collect::<Option<_>>()?;
    Some(Line { id, port, flags, primary, epoch, slots })
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_real_servers() {
        let text = "aa 127.0.0.1:10001@20001,host master - 0 0 3 connected 0-5 7 [9->-bb]\n\
                    bb 127.0.0.1:10002@20002 myself,slave aa 0 1426238317239 3 connected\n\
                    cc :0@0 master,fail,noaddr - 1 1 2 disconnected 8-9\n";
        let lines = parse(text).unwrap();
        assert_eq!((lines[0].port, lines[0].epoch, &lines[0].slots), (10001, 3, &vec![0..=5, 7..=7]));
        assert!(lines[0].owns(7) && !lines[0].owns(6) && !lines[0].owns(9));
        assert_eq!(lines[1].primary.as_deref(), Some("aa"));
        assert!(lines[1].has("myself") && lines[1].has("slave") && !lines[1].has("fail"));
        assert!(lines[2].has("noaddr"));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn every_slot_has_a_key() {
        for slot in [0, 1, 8191, 16_383] {
            assert_eq!(slot_of(key_in(slot)), slot);
        }
    }
}
