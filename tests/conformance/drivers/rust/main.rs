//! The Rust driver of the conformance suite: does with the `failsoft` crate what the lines on its input say.

#[path = "../../src/protocol.rs"]
mod protocol;

mod calls;
mod fallback;

use protocol::{FromDriver, Request};
use std::collections::BTreeMap;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Where the driver's lines go.
pub(crate) type Lines = UnboundedSender<FromDriver>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // A callback's panic is part of a scenario; its message would only clutter the run.
    std::panic::set_hook(Box::new(|_| {}));
    let (lines, to_write) = unbounded_channel();
    let writer = tokio::spawn(write(to_write));
    // Nobody reads what fails here: the other end is gone then.
    let _ = lines.send(FromDriver::Hello {
        binding: "rust".to_owned(),
        protocol: protocol::VERSION,
        cannot: BTreeMap::from([(
            "wrong_type".to_owned(),
            "the compiler refuses a callback with a wrong result".to_owned(),
        )]),
    });
    let mut driver = calls::Driver::new(lines);
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = input.next_line().await? {
        let request: Request = serde_json::from_str(&line).map_err(std::io::Error::other)?;
        driver.take(request);
    }
    drop(driver);
    writer.abort();
    Ok(())
}

async fn write(mut lines: UnboundedReceiver<FromDriver>) -> std::io::Result<()> {
    let mut output = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        let mut text = serde_json::to_string(&line).map_err(std::io::Error::other)?;
        text.push('\n');
        output.write_all(text.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
