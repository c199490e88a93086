//! The names of namespaces and links, which carry the process id, and the removal of those whose process is gone.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::commands::{links, namespaces};

const NAMESPACE: &str = "failsoft-";
/// A link's name has at most 15 bytes.
const LINK: &str = "fs";

/// The name of a process's network: the namespaces' names begin with it.
pub(super) fn name(pid: u32, number: u32) -> String {
    format!("{NAMESPACE}{pid}-{number}")
}

/// The name of our end of the wire to its switch.
pub(super) fn link(pid: u32, number: u32) -> String {
    format!("{LINK}{pid}.{number}")
}

/// Removes one network. Wires go with the namespaces they end in.
pub(super) fn remove_network(name: &str) {
    let prefix = format!("{name}-");
    delete(namespaces().iter().filter(|namespace| namespace.starts_with(&prefix)));
    // Namespaces end in the background; our end of the wire is to be gone now.
    let link = name.strip_prefix(NAMESPACE).map(|rest| format!("{LINK}{}", rest.replace('-', ".")));
    delete_links(links().iter().filter(|&there| Some(there) == link.as_ref()));
}

/// Removes all that belonged to processes that are gone: where even the watchdog was killed.
pub(super) fn remove() {
    delete(namespaces().iter().filter(|name| is_dead(name, NAMESPACE, '-')));
    delete_links(links().iter().filter(|name| is_dead(name, LINK, '.')));
}

fn is_dead(name: &str, prefix: &str, end: char) -> bool {
    let pid = name.strip_prefix(prefix).and_then(|rest| rest.split_once(end)?.0.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn delete<'a>(names: impl Iterator<Item = &'a String>) {
    names.for_each(|name| quietly(&["netns", "delete", name]));
}

fn delete_links<'a>(names: impl Iterator<Item = &'a String>) {
    names.for_each(|name| quietly(&["link", "delete", name]));
}

/// Somebody else may remove the same at the same time, so failing is no failure.
fn quietly(words: &[&str]) {
    let _ = Command::new("ip").args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_named_is_a_leftover() {
        let (own, dead) = (std::process::id(), u32::MAX);
        assert!(is_dead(&format!("{}-3", name(dead, 0)), NAMESPACE, '-'));
        assert!(!is_dead(&format!("{}-3", name(own, 0)), NAMESPACE, '-'));
        assert!(is_dead(&link(dead, 7), LINK, '.') && !is_dead(&link(own, 7), LINK, '.'));
        assert!(
            !is_dead("failsoft-x-1", NAMESPACE, '-') && !is_dead("fsx.1", LINK, '.') && !is_dead("eth0", LINK, '.')
        );
        assert!(link(4_194_304, 999).len() <= 15);
    }
}
