//! The test kit for programs in other languages: one JSON object a line on stdin, one on stdout.
//!
//! `{"do": "cluster", "primaries": 3, "replicas": 1}` starts the one cluster of this process, and
//! `{"do": "scripted"}` one more scripted node; both answer with addresses. `kill`, `hang`, `resume`,
//! `restart` and `wait_promoted` take a `node`; `kill_all`, `restart_all` and `wait_until_ok` nothing.
//! `behave` takes a `node`, a `command` and `how` (`silent`, `close` or an error's text; none: as
//! usual); `calls` how often a scripted node got a `command`. An answer is an object, with `error` if
//! it failed. At the end of its input it stops all it started.

use failsoft_testkit::{Behaviour, Cluster, ScriptedNode, Server};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

const PROMOTION: Duration = Duration::from_secs(30);
type Failure = Box<dyn std::error::Error>;

#[derive(Default)]
struct Kit {
    cluster: Option<Cluster>,
    scripted: Vec<ScriptedNode>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (mut kit, mut lines) = (Kit::default(), BufReader::new(tokio::io::stdin()).lines());
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => kit.carry_out(&request).await,
            Err(error) => Err(error.into()),
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(std::io::stdout().lock(), "{answer}")?;
        std::io::stdout().flush()?;
    }
    Ok(())
}

impl Kit {
    async fn carry_out(&mut self, request: &Value) -> Result<Value, Failure> {
        let text = |name: &str| request[name].as_str().unwrap_or_default();
        let number = |name: &str| usize::try_from(request[name].as_u64().unwrap_or_default());
        match text("do") {
            "cluster" => {
                let server = Server::find(None)?;
                let builder = Cluster::builder().server(&server).node_timeout(Duration::from_secs(2));
                let builder = builder.primaries(number("primaries")?).replicas(number("replicas")?);
                let cluster = self.cluster.insert(builder.start().await?);
                return Ok(json!({ "addresses": cluster.addresses() }));
            }
            "scripted" => {
                let node = ScriptedNode::start().await?;
                let answer = json!({ "node": self.scripted.len(), "address": node.address() });
                self.scripted.push(node);
                return Ok(answer);
            }
            "behave" | "calls" => {
                let node = self.scripted.get(number("node")?).ok_or("no such scripted node")?;
                if text("do") == "calls" {
                    return Ok(json!({ "calls": node.count(text("command")) }));
                }
                match request["how"].as_str() {
                    None => node.clear_rules(),
                    Some("silent") => node.on(text("command"), Behaviour::Silence),
                    Some("close") => node.on(text("command"), Behaviour::Close),
                    Some(error) => node.on(text("command"), Behaviour::error(error)),
                }
                return Ok(json!({}));
            }
            _ => {}
        }
        let cluster = self.cluster.as_ref().ok_or("there is no cluster yet")?;
        let node = number("node")?;
        match text("do") {
            "kill" => cluster.kill(node).await?,
            "hang" => cluster.hang(node)?,
            "resume" => cluster.resume(node)?,
            "restart" => cluster.restart(node).await?,
            "wait_promoted" => cluster.wait_promoted(node, PROMOTION).await?,
            "kill_all" => cluster.kill_all().await?,
            "restart_all" => cluster.restart_all().await?,
            "wait_until_ok" => cluster.wait_until_ok().await?,
            other => return Err(format!("unknown: {other}").into()),
        }
        Ok(json!({}))
    }
}
