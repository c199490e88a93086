//! Which behaviour a command meets.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::Behaviour;

/// A command in capitals and, for a rule of one key, its first argument.
type Subject = (String, Option<Vec<u8>>);

/// All rules of a node.
#[derive(Debug, Default)]
pub(super) struct Rules {
    next: BTreeMap<Subject, VecDeque<Behaviour>>,
    standing: BTreeMap<Subject, Behaviour>,
}

impl Rules {
    pub(super) fn set(&mut self, command: &str, key: Option<&[u8]>, behaviour: Behaviour) {
        self.standing.insert(subject(command, key), behaviour);
    }

    pub(super) fn push(&mut self, command: &str, key: Option<&[u8]>, behaviour: Behaviour) {
        self.next.entry(subject(command, key)).or_default().push_back(behaviour);
    }

    pub(super) fn clear(&mut self) {
        *self = Rules::default();
    }

    /// The strongest rule for a command, used up if it was for the next call only.
    pub(super) fn take(&mut self, words: &[Bytes]) -> Option<Behaviour> {
        let name = text(words.first()?);
        let mut subjects = Vec::with_capacity(4);
        if let Some(argument) = words.get(1) {
            subjects.push((name.clone(), Some(argument.to_vec())));
            subjects.push((format!("{name} {}", text(argument)), None));
        }
        subjects.push((name, None));
        subjects.push(("*".to_owned(), None));
        subjects.iter().find_map(|subject| {
            let next = self.next.get_mut(subject).and_then(VecDeque::pop_front);
            next.or_else(|| self.standing.get(subject).cloned())
        })
    }
}

/// Whether a command is the named one; the name may be two words.
pub(super) fn is_command(words: &[Bytes], command: &str) -> bool {
    let mut words = words.iter();
    let mut is_next = |name: &str| words.next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    command == "*" || command.split_whitespace().all(&mut is_next)
}

/// Whether its first argument is the key, if one is asked for.
pub(super) fn has_key(words: &[Bytes], key: Option<&[u8]>) -> bool {
    key.is_none_or(|key| words.get(1).is_some_and(|word| word == key))
}

fn subject(command: &str, key: Option<&[u8]>) -> Subject {
    let words: Vec<_> = command.split_whitespace().map(str::to_ascii_uppercase).collect();
    (words.join(" "), key.map(<[u8]>::to_vec))
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn the_strongest_rule_wins() {
        let mut rules = Rules::default();
        rules.set("*", None, Behaviour::error("any"));
        rules.set("get", None, Behaviour::error("standing"));
        rules.push("GET", None, Behaviour::error("next"));
        rules.set("GET", Some(b"k"), Behaviour::error("key"));
        rules.push("GET", Some(b"k"), Behaviour::error("next of key"));
        rules.set("Cluster  nodes", None, Behaviour::error("sub"));
        let mut said = |text: &str| match rules.take(&words(text)) {
            Some(Behaviour::Error(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(said("get k"), "next of key");
        assert_eq!(said("get k"), "key");
        assert_eq!(said("GET K"), "next");
        assert_eq!(said("GET K"), "standing");
        assert_eq!(said("CLUSTER NODES"), "sub");
        assert_eq!(said("CLUSTER SLOTS"), "any");
        rules.clear();
        assert!(rules.take(&words("GET k")).is_none());
    }

    #[test]
    fn names_of_two_words() {
        assert!(is_command(&words("cluster nodes"), "CLUSTER NODES"));
        assert!(is_command(&words("cluster nodes"), "CLUSTER"));
        assert!(!is_command(&words("cluster"), "CLUSTER NODES"));
        assert!(!is_command(&words("GET k"), "GE"));
        assert!(has_key(&words("GET k"), Some(b"k")) && !has_key(&words("GET"), Some(b"k")));
    }
}
