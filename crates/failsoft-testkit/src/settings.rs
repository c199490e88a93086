//! How the servers of a group are set up: everything their configuration files say.

use std::{fmt::Write as _, net::SocketAddrV4, path::Path, time::Duration};

use crate::{Error, Server, tls::Tls};

/// What a builder has gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) server: Option<Server>,
    /// Cluster mode, with this node timeout.
    pub(crate) cluster: Option<Duration>,
    pub(crate) config: Vec<(String, String)>,
    /// The user (empty: the default user) and password of the kit's own commands.
    pub(crate) auth: Option<(String, String)>,
    pub(crate) tls: Option<Tls>,
}

impl Settings {
    /// The text of a node's configuration file. Lines of the caller come last, so that they win.
    pub(crate) fn file(&self, address: SocketAddrV4, folder: &Path) -> Result<String, Error> {
        let port = address.port();
        let mut lines = vec![
            ("bind".to_owned(), address.ip().to_string()),
            // Without a password a server talks to its own host only, and we may come from another.
            ("protected-mode".to_owned(), if address.ip().is_loopback() { "yes" } else { "no" }.to_owned()),
            ("dir".to_owned(), quoted(folder)?),
            ("save".to_owned(), String::new()),
            ("appendonly".to_owned(), "no".to_owned()),
            // Otherwise a replica keeps the file of its first copy, and has that again when it is started again.
            ("rdb-del-sync-files".to_owned(), "yes".to_owned()),
            // A replica that comes up waits 5 s for others by default.
            ("repl-diskless-sync".to_owned(), "yes".to_owned()),
            ("repl-diskless-sync-delay".to_owned(), "0".to_owned()),
        ];
        match &self.tls {
            None => lines.push(("port".to_owned(), port.to_string())),
            Some(tls) => {
                lines.push(("port".to_owned(), "0".to_owned()));
                lines.push(("tls-port".to_owned(), port.to_string()));
                lines.push(("tls-ca-cert-file".to_owned(), quoted(&tls.ca)?));
                lines.push(("tls-cert-file".to_owned(), quoted(&tls.certificate)?));
                lines.push(("tls-key-file".to_owned(), quoted(&tls.key)?));
                lines.push(("tls-auth-clients".to_owned(), "no".to_owned()));
                lines.push(("tls-replication".to_owned(), "yes".to_owned()));
            }
        }
        if let Some(node_timeout) = self.cluster {
            lines.push(("cluster-enabled".to_owned(), "yes".to_owned()));
            lines.push(("cluster-config-file".to_owned(), "nodes.conf".to_owned()));
            lines.push(("cluster-node-timeout".to_owned(), node_timeout.as_millis().to_string()));
            if self.tls.is_some() {
                lines.push(("tls-cluster".to_owned(), "yes".to_owned()));
            }
        }
        let mut text = String::new();
        for (key, value) in lines.iter().chain(&self.config) {
            if key.is_empty() || key.contains(char::is_whitespace) || value.contains(['\n', '\r', '\0']) {
                return Err(Error::Config(format!(
                    "server setting {key:?} {value:?}: a key is one word and a value one line"
                )));
            }
            let value = if value.is_empty() { "\"\"" } else { value };
            writeln!(text, "{key} {value}").expect("writing to a String cannot fail");
        }
        Ok(text)
    }
}

fn quoted(path: &Path) -> Result<String, Error> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\', '\n']) => Ok(format!("\"{text}\"")),
        _ => Err(Error::Config(format!(
            "the path {path:?} cannot stand in a configuration file: it has \", \\ or bytes that are no text"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    #[test]
    fn the_caller_s_lines_come_last_and_empty_values_are_quoted() {
        let config =
            vec![("appendonly".to_owned(), "yes".to_owned()), ("notify-keyspace-events".to_owned(), String::new())];
        let text = Settings { config, ..Settings::default() }.file(at(10_001), Path::new("/a b")).unwrap();
        assert!(
            text.contains("dir \"/a b\"\n") && text.contains("save \"\"\n") && text.contains("port 10001\n"),
            "{text}"
        );
        assert!(text.ends_with("appendonly yes\nnotify-keyspace-events \"\"\n"), "{text}");
    }

    #[test]
    fn a_setting_cannot_smuggle_in_another_line() {
        for (key, value) in [("a", "b\nc d"), ("a b", "c"), ("", "x")] {
            let config = vec![(key.to_owned(), value.to_owned())];
            assert!(
                Settings { config, ..Settings::default() }.file(at(1), Path::new("/")).is_err(),
                "{key:?} {value:?}"
            );
        }
    }
}
