//! Runs `ip` and `nft`: several at once, never longer than a limit, and every failure says what the program said.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::exec;
use crate::Error;

/// They take milliseconds; a machine may be busy.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Whether namespaces may be made here at all.
pub(super) fn permitted() -> Result<(), Error> {
    let missing = |why: &str| Err(Error::NoNetwork { why: why.to_owned() });
    if !cfg!(target_os = "linux") {
        return missing("this is no Linux");
    }
    if !rustix::process::geteuid().is_root() {
        return missing("this process is not root");
    }
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        let found = Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            return missing(&format!("no `{program}` on PATH (Debian: apt install {package})"));
        }
    }
    Ok(())
}

/// Starts them all, each with its input, then waits for each. The first failure is the result.
pub(super) fn run_all(commands: Vec<(Command, String)>) -> Result<(), Error> {
    let started: Vec<_> = commands.into_iter().map(|(command, input)| start(command, &input)).collect();
    let deadline = Instant::now() + LIMIT;
    started.into_iter().map(|child| finish(child?, deadline).map(drop)).collect::<Vec<_>>().into_iter().collect()
}

/// The local ports of a namespace's connections to that address, and the ports there.
pub(super) fn connections(namespace: &str, to: Ipv4Addr) -> Result<Vec<(u16, u16)>, Error> {
    let mut command = exec(namespace);
    command.args(["cat", "/proc/net/tcp"]);
    let table = finish(start(command, "")?, Instant::now() + LIMIT)?;
    Ok(table.lines().filter_map(|line| connection(line, to)).collect())
}

/// A line of `/proc/net/tcp`: number, local and remote address in hexadecimal, state; addresses are in the machine's
/// byte order.
fn connection(line: &str, to: Ipv4Addr) -> Option<(u16, u16)> {
    const ESTABLISHED: &str = "01";
    let mut words = line.split_whitespace().skip(1);
    let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
    let port = |text: &str| u16::from_str_radix(text, 16).ok();
    let (address, remote_port) = remote.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?;
    let here = Ipv4Addr::from(address.to_ne_bytes()) == to && state == ESTABLISHED;
    Some((port(local.split_once(':')?.1)?, port(remote_port)?)).filter(|_| here)
}

fn start(mut command: Command, input: &str) -> Result<(String, Child), Error> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let what = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
    // Through files, so that nothing said or told can block.
    let mut file = tempfile::tempfile().map_err(Error::io("a temporary file"))?;
    file.write_all(input.as_bytes()).map_err(Error::io("a temporary file"))?;
    std::io::Seek::rewind(&mut file).map_err(Error::io("a temporary file"))?;
    command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(Error::io(what.clone()))?;
    Ok((what, child))
}

fn finish((what, mut child): (String, Child), deadline: Instant) -> Result<String, Error> {
    while child.try_wait().map_err(Error::io(what.clone()))?.is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::timeout(what, LIMIT));
        }
        std::thread::sleep(PAUSE);
    }
    let output = child.wait_with_output().map_err(Error::io(what.clone()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::NoNetwork { why: format!("{what}: {}: {}", output.status, said.trim()) })
}

/// The names of the namespaces there are.
pub(super) fn namespaces() -> Vec<String> {
    names_in(super::inside::NAMESPACES)
}

/// The names of the links of this process's own namespace.
pub(super) fn links() -> Vec<String> {
    names_in("/sys/class/net")
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_connections_to_one_address() {
        let remote = u32::from_ne_bytes([198, 18, 0, 3]);
        let line = |state: &str| format!("   0: 0100007F:A2C0 {remote:08X}:1B58 {state} 00000000:00000000 00:00000000");
        let to = Ipv4Addr::new(198, 18, 0, 3);
        assert_eq!(connection(&line("01"), to), Some((0xA2C0, 7000)));
        assert_eq!(connection(&line("06"), to), None);
        assert_eq!(connection(&line("01"), Ipv4Addr::LOCALHOST), None);
        assert_eq!(connection("  sl  local_address rem_address   st", to), None);
    }
}
