//! The kit's own commands to a server: one connection for one command, and never longer than a limit.

use std::{
    net::{IpAddr, SocketAddrV4},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{Error, settings::Settings};

/// The limit of a command, connecting included: a hung node is an error, not a hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);

/// Sends one command to the server at that address. An error reply is an [`Error::Command`].
pub(crate) async fn ask<A: AsRef<[u8]>>(
    address: SocketAddrV4,
    settings: &Settings,
    words: &[A],
    limit: Duration,
) -> Result<Value, Error> {
    let node = address.to_string();
    let Some((name, arguments)) = words.split_first() else {
        return Err(Error::Config("a command needs at least its name".to_owned()));
    };
    let mut command = Cmd::new();
    command.arg(name.as_ref());
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    match tokio::time::timeout(limit, connect_and_send(address, settings, &command)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Command { node, command: shown(words), source }),
        Err(_) => Err(Error::timeout(format!("{node}: an answer to {}", shown(words)), limit)),
    }
}

async fn connect_and_send(address: SocketAddrV4, settings: &Settings, command: &Cmd) -> Result<Value, RedisError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match &settings.tls {
        None => send(stream, settings, command).await,
        Some(tls) => {
            let name = IpAddr::from(*address.ip()).into();
            send(tls.connector.connect(name, stream).await?, settings, command).await
        }
    }
}

async fn send<S>(stream: S, settings: &Settings, command: &Cmd) -> Result<Value, RedisError>
where
    S: Unpin + AsyncRead + AsyncWrite + Send + 'static,
{
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some((user, password)) = &settings.auth {
        info = info.set_password(password);
        if !user.is_empty() {
            info = info.set_username(user);
        }
    }
    // The caller's limit is the only one.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    tokio::select! {
        reply = command.query_async(&mut connection) => reply,
        () = driver => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()),
    }
}

/// The first words of a command, for messages; the rest may be large or binary.
fn shown<A: AsRef<[u8]>>(words: &[A]) -> String {
    let mut text: Vec<_> = words.iter().take(3).map(|word| String::from_utf8_lossy(word.as_ref())).collect();
    if words.len() > 3 {
        text.push("...".into());
    }
    text.join(" ")
}
