//! Addresses as people write them: `host`, `host:port`, `[v6]` and `[v6]:port`, checked strictly.

use crate::error::{ConfigError, quoted};
use crate::words::Endpoint;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::net::{Ipv4Addr, Ipv6Addr};

/// What an address may look like, for error messages.
const ALLOWED: &str = "`host:port` or `[v6]:port`, with a port from 1 to 65535 (6379 if it is left out)";
/// The port of an address that names none: what servers listen on unless they are told otherwise.
const DEFAULT_PORT: u16 = 6379;
/// The longest scope of an IPv6 address: an interface's name has at most 15 bytes (Linux, macOS).
const MAX_SCOPE: usize = 15;
/// The longest host name in bytes (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
/// The longest part of a host name between two dots in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

impl Endpoint {
    /// Reads `host:port` or `[v6]:port`; without a port it is 6379. URLs are the driver's to read.
    ///
    /// A host is an IPv4 address, or a name of letters, digits, `-`, `_` and dots, at most 253
    /// bytes long. IPv6 addresses are kept in their shortest form, and may have a scope: `[fe80::1%eth0]:7000`.
    ///
    /// # Errors
    /// For the key `nodes`, naming the address, what is wrong with it and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        parse(text).map_err(|problem| ConfigError::new("nodes", problem))
    }
}

/// At least one seed node has to be given.
///
/// # Errors
/// For the key `nodes` when the list is empty.
pub fn check_nodes<T>(nodes: &[T]) -> Result<(), ConfigError> {
    if nodes.is_empty() {
        return Err(ConfigError::new("nodes", format!("no node was given; allowed: at least one of {ALLOWED}")));
    }
    Ok(())
}

/// The addresses in a text in which commas part them. A comma in the user or password of a URL parts nothing: no
/// address has an `@` without being one.
pub fn split_nodes(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        let end = end_of_node(text);
        rest = text.get(end + 1..);
        Some(text[..end].trim())
    })
}

/// Where the first address of a list ends.
fn end_of_node(text: &str) -> usize {
    let end = text.find(',').unwrap_or(text.len());
    let first = &text[..end];
    if !first.contains("://") || first.contains('@') {
        return end;
    }
    // Up to the next URL, an `@` ends this one's password.
    let until = text[end..].find("://").map_or(text.len(), |next| end + next);
    let Some(at) = text[end..until].find('@').map(|at| end + at) else { return end };
    text[at..].find(',').map_or(text.len(), |comma| at + comma)
}

/// Reads one address; the error is the problem without its key.
pub(crate) fn parse(text: &str) -> Result<Endpoint, String> {
    split(text).map_err(|why| format!("the address {} {why}; allowed: {ALLOWED}", quoted(text)))
}

/// Reads the pairs of an address map, each `from=to`.
pub(crate) fn parse_pair(text: &str) -> Result<(Endpoint, Endpoint), String> {
    let (from, to) = text
        .split_once('=')
        .ok_or_else(|| format!("the entry {} has no `=`; allowed: `from=to`, both {ALLOWED}", quoted(text)))?;
    Ok((parse(from.trim())?, parse(to.trim())?))
}

fn split(text: &str) -> Result<Endpoint, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has a space or control character in it");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("has no `]` to its `[`")?;
        let host = host_v6(host)?;
        let port = match rest.strip_prefix(':') {
            Some(rest) => port(rest)?,
            None if rest.is_empty() => DEFAULT_PORT,
            None => return Err("has something else than a port after its `]`"),
        };
        return Ok(Endpoint { host, port });
    }
    let Some((host, rest)) = text.rsplit_once(':') else {
        check_host(text)?;
        return Ok(Endpoint { host: text.to_owned(), port: DEFAULT_PORT });
    };
    if host.contains("://") || rest.starts_with("//") {
        return Err("is a URL");
    }
    if host.contains(':') {
        return Err("has several `:` (an IPv6 address needs brackets)");
    }
    check_host(host)?;
    Ok(Endpoint { host: host.to_owned(), port: port(rest)? })
}

fn host_v6(text: &str) -> Result<String, &'static str> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| "has no IPv6 address in its brackets")?;
    let Some(scope) = scope else { return Ok(address.to_string()) };
    let fits = !scope.is_empty() && scope.len() <= MAX_SCOPE;
    if !fits || !scope.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err("has a scope after its `%` that is no interface's name or number");
    }
    Ok(format!("{address}%{scope}"))
}

fn port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Err("has no port");
    }
    // `parse` alone would let `+7000` through.
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has a port that is no number");
    }
    text.parse().ok().filter(|&port| port != 0).ok_or("has a port out of range")
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("has no host");
    }
    if host.len() > MAX_HOST {
        return Err("has a host of more than 253 bytes");
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err("has a host with characters other than letters, digits, `-`, `_` and `.`");
    }
    // A dot at the end marks a name as complete, so that no search domain is added.
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL) {
        return Err("has a host with an empty part, or one of more than 63 bytes");
    }
    // Some resolvers read `10.1` or `010.0.0.1` as another address than the one meant.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("has a host that looks like an IPv4 address and is none");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn good_addresses() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let cases = [
            ("127.0.0.1:7000", "127.0.0.1", 7000),
            ("localhost:1", "localhost", 1),
            ("cache-1.my_net.example.:65535", "cache-1.my_net.example.", 65535),
            ("[::1]:7000", "::1", 7000),
            ("[2001:0DB8:0::1]:06379", "2001:db8::1", 6379),
            ("localhost", "localhost", 6379),
            ("10.0.0.1", "10.0.0.1", 6379),
            ("[::1]", "::1", 6379),
            ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
            ("[FE80:0::1%2]", "fe80::1%2", 6379),
            (&format!("{longest}:7"), &longest, 7),
        ];
        for (text, host, port) in cases {
            assert_eq!(Endpoint::parse(text), Ok(Endpoint { host: host.into(), port }), "{text}");
        }
    }

    #[test]
    fn bad_addresses_are_named_with_what_is_allowed() {
        let overlong = format!("{}a:1", "a.".repeat(127));
        let label = format!("{}.b:1", "a".repeat(64));
        let cases = [
            ("", "is empty"),
            ("localhost:", "has no port"),
            (":7000", "has no host"),
            ("h:0", "port out of range"),
            ("h:65536", "port out of range"),
            ("h:99999999999999999999", "port out of range"),
            ("h:-1", "port that is no number"),
            ("h:+1", "port that is no number"),
            ("h:7000x", "port that is no number"),
            ("h:٧", "port that is no number"),
            ("::1:7000", "needs brackets"),
            ("fe80::1", "needs brackets"),
            ("[::1]7000", "else than a port"),
            ("[fe80::1%]:1", "scope"),
            ("[fe80::1%a/b]:1", "scope"),
            ("[fe80::1%sixteen-letters!]:1", "scope"),
            ("[fe80::1%sixteen-letters0]:1", "scope"),
            ("fe80::1%eth0", "needs brackets"),
            ("127.0.0.1%eth0", "characters other than"),
            ("[::1]:", "has no port"),
            ("[::1:7000", "has no `]`"),
            ("[]:7000", "no IPv6 address"),
            ("[localhost]:7000", "no IPv6 address"),
            ("[127.0.0.1]:7000", "no IPv6 address"),
            (" h:1", "space"),
            ("h:1\n", "control character"),
            ("h\0:1", "control character"),
            ("h\u{a0}x:1", "space"),
            ("redis://h:1", "is a URL"),
            ("redis://h", "is a URL"),
            ("user@h:1", "characters other than"),
            ("h,i:1", "characters other than"),
            ("bücher.example:1", "characters other than"),
            ("a..b:1", "empty part"),
            (".:1", "empty part"),
            ("256.0.0.1:1", "is none"),
            ("10.1:1", "is none"),
            (&label, "more than 63 bytes"),
            (&overlong, "more than 253 bytes"),
        ];
        for (text, why) in cases {
            let error = Endpoint::parse(text).expect_err(text);
            assert_eq!(error.key, "nodes");
            assert!(error.problem.contains(why), "{text:?}: {error}");
            assert!(error.problem.contains(&quoted(text)) && error.problem.contains(ALLOWED), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_displayed_is_read_back() {
        for text in ["127.0.0.1:7000", "[::1]:7000", "[fe80::1%eth0]:7000", "a.b:1"] {
            assert_eq!(Endpoint::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn commas_part_addresses_but_no_passwords() {
        let cases: [(&str, &[&str]); 8] = [
            ("a:1", &["a:1"]),
            ("a:1, b:2,c", &["a:1", "b:2", "c"]),
            ("a:1,", &["a:1", ""]),
            ("redis://a:1,valkey://b:2", &["redis://a:1", "valkey://b:2"]),
            ("redis://u:p,q@a:1,b:2", &["redis://u:p,q@a:1", "b:2"]),
            ("b:2,redis://:p,q,r@a:1", &["b:2", "redis://:p,q,r@a:1"]),
            ("redis://a,rediss://u:p@b,c", &["redis://a", "rediss://u:p@b", "c"]),
            ("", &[""]),
        ];
        for (text, parts) in cases {
            assert_eq!(split_nodes(text).collect::<Vec<_>>(), parts, "{text}");
        }
    }

    #[test]
    fn an_empty_list_of_nodes_is_refused() {
        assert_eq!(check_nodes::<Endpoint>(&[]).expect_err("empty").key, "nodes");
        assert_eq!(check_nodes(&["h:1"]), Ok(()));
    }
}
