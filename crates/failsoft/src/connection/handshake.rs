//! The first words on a connection: `HELLO 3` with authentication and name, RESP2 wherever a server will not have that,
//! and who it is that answers.
//!
//! A server without `CLUSTER MYID` says it in `CLUSTER NODES`, for which a second write is due. One that says it nowhere
//! is taken for the one that is meant. But one that cannot say it now, because it is loading for example, is let be: it
//! would not serve either, and the next connection asks again.
//!
//! Servers refuse `HELLO` in many words, and some proxies close the connection at it; so any answer but yes, and but a
//! refusal of the password or of everybody, means RESP2. No request of a caller goes out before it is known that the
//! node is the one that is meant.

use super::encode;
use super::io::Wire;
use super::lane::LaneConfig;
use super::resp::Reply;
use super::stream;
use failsoft_policy::connection::Failure;
use failsoft_policy::reply::{ErrorReply, classify, is_cluster_disabled};
use tokio::time::Instant;

/// What a server said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeted {
    /// Its node id, where it was asked for and is given.
    pub(crate) node_id: Option<String>,
    /// What it refused of the handshake: `HELLO`, `AUTH`, `CLUSTER MYID`.
    pub(crate) refused: Vec<&'static str>,
}

/// Connects and shakes hands. The requests go out in one write; in a second one where the server speaks RESP2 only.
///
/// # Errors
/// `Connect`, `Refused` with the server's error line (never the password), `Stranger`, `Protocol` or `Lost`.
pub(super) async fn open(config: &LaneConfig, until: Instant) -> Result<(Wire, Greeted), Failure> {
    let connect = async || stream::connect(&config.endpoint, config.tls.as_deref(), until).await.map(Wire::new);
    let mut wire = connect().await?;
    let greeted = match modern(&mut wire, config).await {
        // Closed at what it does not know, perhaps.
        Err(Failure::Lost(_)) => {
            wire = connect().await?;
            old_style(&mut wire, config).await?
        }
        greeted => greeted?,
    };
    match (&config.node_id, &greeted.node_id) {
        (Some(meant), Some(id)) if **meant != **id => Err(Failure::Stranger(id.as_str().into())),
        _ => Ok((wire, greeted)),
    }
}

async fn modern(wire: &mut Wire, config: &LaneConfig) -> Result<Greeted, Failure> {
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
    last_words(&mut out, config);
    wire.send(&out).await?;

    match wire.reply().await? {
        Reply::Error(line) if is_final(&line) => Err(refused(&line, config)),
        // There is none that could be said in other words.
        Reply::Error(line) if config.password.is_none() && line.starts_with("NOAUTH") => Err(refused(&line, config)),
        Reply::Error(_) => {
            // Refused for want of authentication perhaps; they are put again below.
            for _ in 0..last_words_of(config) {
                wire.reply().await?;
            }
            old_style(wire, config).await
        }
        _ => last_replies(wire, config, Greeted::default()).await,
    }
}

/// The same in RESP2.
async fn old_style(wire: &mut Wire, config: &LaneConfig) -> Result<Greeted, Failure> {
    let mut out = Vec::new();
    if let Some(password) = &config.password {
        match &config.username {
            Some(user) => encode::command(&mut out, &[b"AUTH", user.as_bytes(), password.as_bytes()], false),
            None => encode::command(&mut out, &[b"AUTH", password.as_bytes()], false),
        }
        encode::command(&mut out, &[b"PING"], false);
    }
    if let Some(name) = &config.client_name {
        encode::command(&mut out, &[b"CLIENT", b"SETNAME", name.as_bytes()], false);
    }
    last_words(&mut out, config);
    wire.send(&out).await?;

    let mut greeted = Greeted { refused: vec!["HELLO"], ..Greeted::default() };
    if config.password.is_some()
        && let (Reply::Error(line), ping) = (wire.reply().await?, wire.reply().await?)
    {
        // A server that has no password yet says so in many words, too; but it answers those who sent none.
        let shut_out = matches!(&ping, Reply::Error(line) if line.starts_with("NOAUTH"));
        if is_final(&line) || shut_out {
            return Err(refused(&line, config));
        }
        greeted.refused.push("AUTH");
    }
    if config.client_name.is_some() {
        // A connection without a name works as well.
        wire.reply().await?;
    }
    last_replies(wire, config, greeted).await
}

fn last_words(out: &mut Vec<u8>, config: &LaneConfig) {
    if config.readonly {
        encode::command(out, &[b"READONLY"], false);
    }
    if config.node_id.is_some() {
        encode::command(out, &[b"CLUSTER", b"MYID"], false);
    }
}

fn last_words_of(config: &LaneConfig) -> usize {
    usize::from(config.readonly) + usize::from(config.node_id.is_some())
}

async fn last_replies(wire: &mut Wire, config: &LaneConfig, mut greeted: Greeted) -> Result<Greeted, Failure> {
    if config.readonly
        && let Reply::Error(line) = wire.reply().await?
        && !is_cluster_disabled(&line)
    {
        return Err(refused(&line, config));
    }
    if config.node_id.is_none() {
        return Ok(greeted);
    }
    greeted.node_id = id_in(&wire.reply().await?)?;
    if greeted.node_id.is_none() {
        greeted.refused.push("CLUSTER MYID");
        greeted.node_id = myself(wire).await?;
    }
    Ok(greeted)
}

/// The id in the answer to `CLUSTER MYID`, if there is one.
///
/// # Errors
/// `Refused` if the server answers nothing now. `Stranger`: what lives at this address by now is no node of a cluster.
pub(super) fn id_in(reply: &Reply) -> Result<Option<String>, Failure> {
    match reply {
        Reply::Value(id) => Ok(Some(String::from_utf8_lossy(id).into_owned())),
        Reply::Status(id) => Ok(Some(id.to_string())),
        Reply::Error(line) if is_cluster_disabled(line) => {
            Err(Failure::Stranger("a server without cluster mode".into()))
        }
        Reply::Error(line) if classify(line) == ErrorReply::Unwilling => Err(Failure::Refused((**line).into())),
        _ => Ok(None),
    }
}

/// Who answers by its own line in `CLUSTER NODES`, if it gives that.
async fn myself(wire: &mut Wire) -> Result<Option<String>, Failure> {
    let mut out = Vec::new();
    encode::command(&mut out, &[b"CLUSTER", b"NODES"], false);
    wire.send(&out).await?;
    let nodes = match wire.reply().await? {
        Reply::Value(nodes) => nodes,
        Reply::Error(line) if classify(&line) == ErrorReply::Unwilling => {
            return Err(Failure::Refused(line.into()));
        }
        _ => return Ok(None),
    };
    let nodes = String::from_utf8_lossy(&nodes);
    let mut lines = nodes.strip_prefix("txt:").unwrap_or(&nodes).lines().map(|line| line.splitn(4, ' '));
    let mine = lines.find(|words| words.clone().nth(2).is_some_and(|flags| flags.split(',').any(|f| f == "myself")));
    Ok(mine.and_then(|mut words| words.next()).map(str::to_owned))
}

/// Whether asking in other words is of no use: the password is wrong, or nobody is let in now.
fn is_final(line: &str) -> bool {
    classify(line) == ErrorReply::Unwilling || line.starts_with("WRONGPASS")
}

/// Some servers repeat the arguments of a command they do not know.
fn refused(line: &str, config: &LaneConfig) -> Failure {
    let line = match config.password.as_deref() {
        Some(password) if !password.is_empty() => line.replace(password, "***"),
        _ => line.to_owned(),
    };
    Failure::Refused(line.into())
}
