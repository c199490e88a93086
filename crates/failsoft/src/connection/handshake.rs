//! The first words on a connection: `HELLO 3` with authentication and name, RESP2 where a server has no RESP3.

use super::encode;
use super::error::LaneError;
use super::io::Wire;
use super::lane::LaneConfig;
use super::resp::Reply;

/// Runs the handshake. Its requests go out in one write; in a second one where the server speaks RESP2 only.
///
/// # Errors
/// `Refused` with the server's error line (never the password), `Protocol` or `Lost`.
pub(super) async fn run(wire: &mut Wire, config: &LaneConfig) -> Result<(), LaneError> {
    let mut out = Vec::new();
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &config.password {
        let user = config.username.as_deref().unwrap_or("default");
        hello.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
    }
    if let Some(name) = &config.client_name {
        hello.extend([&b"SETNAME"[..], name.as_bytes()]);
    }
    encode::command(&mut out, &hello, false);
    readonly(&mut out, config);
    wire.send(&out).await?;

    match wire.reply().await? {
        Reply::Error(line) if lacks_resp3(&line) => {
            if config.readonly {
                // Refused for want of authentication perhaps; it is asked for again below.
                wire.reply().await?;
            }
            old_style(wire, config).await
        }
        Reply::Error(line) => Err(refused(&line, config)),
        _ => readonly_reply(wire, config).await,
    }
}

/// The same in RESP2.
async fn old_style(wire: &mut Wire, config: &LaneConfig) -> Result<(), LaneError> {
    let mut out = Vec::new();
    if let Some(password) = &config.password {
        match &config.username {
            Some(user) => encode::command(&mut out, &[b"AUTH", user.as_bytes(), password.as_bytes()], false),
            None => encode::command(&mut out, &[b"AUTH", password.as_bytes()], false),
        }
    }
    if let Some(name) = &config.client_name {
        encode::command(&mut out, &[b"CLIENT", b"SETNAME", name.as_bytes()], false);
    }
    readonly(&mut out, config);
    wire.send(&out).await?;

    if config.password.is_some()
        && let Reply::Error(line) = wire.reply().await?
    {
        return Err(refused(&line, config));
    }
    if config.client_name.is_some() {
        // A connection without a name works as well.
        wire.reply().await?;
    }
    readonly_reply(wire, config).await
}

fn readonly(out: &mut Vec<u8>, config: &LaneConfig) {
    if config.readonly {
        encode::command(out, &[b"READONLY"], false);
    }
}

async fn readonly_reply(wire: &mut Wire, config: &LaneConfig) -> Result<(), LaneError> {
    if config.readonly
        && let Reply::Error(line) = wire.reply().await?
        && !line.contains("cluster support disabled")
    {
        return Err(refused(&line, config));
    }
    Ok(())
}

/// Servers before Redis 6 do not know `HELLO`; others say NOPROTO to a version they do not speak.
fn lacks_resp3(line: &str) -> bool {
    line.starts_with("NOPROTO") || line.to_ascii_lowercase().starts_with("err unknown command")
}

/// Some servers repeat the arguments of a command they do not know.
fn refused(line: &str, config: &LaneConfig) -> LaneError {
    let line = match config.password.as_deref() {
        Some(password) if !password.is_empty() => line.replace(password, "***"),
        _ => line.to_owned(),
    };
    LaneError::Refused(line.into())
}
