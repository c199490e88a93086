//! What a scripted node does instead of a proper answer.

use std::time::Duration;

use bytes::Bytes;

/// How a command is answered. What makes a connection silent keeps it open, reads on and answers
/// nothing any more: an answer to a later command would pass for the answer to this one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Behaviour {
    /// As without a rule; useful inside `Delay`.
    Normal,
    /// These bytes, whatever they are.
    Reply(Bytes),
    /// An error reply: `MOVED 1 127.0.0.1:7000`, `LOADING ...`. No line breaks.
    Error(String),
    /// A bulk string.
    Value(Bytes),
    /// No such key.
    Nil,
    /// The connection becomes silent.
    Silence,
    /// The behaviour, that long after the command came; commands in between wait in the line.
    Delay(Duration, Box<Behaviour>),
    /// Closes the connection, after what is owed to earlier commands.
    Close,
    /// Bytes that are no RESP.
    Garbage,
    /// The first half of a bulk string; then the connection becomes silent.
    HalfReplyThenSilence,
    /// The header of a bulk string of 512 MiB; then the connection becomes silent.
    HugeHeader,
    /// An array of two strings.
    Array,
    /// These bytes one at a time, that far apart.
    Drip {
        /// What is sent.
        bytes: Bytes,
        /// The pause before each byte.
        every: Duration,
    },
}

impl Behaviour {
    /// [`Behaviour::Reply`] of a text or bytes.
    pub fn reply(bytes: impl AsRef<[u8]>) -> Behaviour {
        Behaviour::Reply(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// [`Behaviour::Error`].
    pub fn error(text: impl Into<String>) -> Behaviour {
        Behaviour::Error(text.into())
    }

    /// [`Behaviour::Value`] of a text or bytes.
    pub fn value(bytes: impl AsRef<[u8]>) -> Behaviour {
        Behaviour::Value(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// This behaviour, so long after the command came.
    pub fn after(self, delay: Duration) -> Behaviour {
        Behaviour::Delay(delay, Box::new(self))
    }
}
