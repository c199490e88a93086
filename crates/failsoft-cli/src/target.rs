//! A router for the cluster that the arguments name.

use crate::{args::TargetArgs, failure::Failure};
use failsoft::Router;
use std::time::Duration;

/// How long a command waits for a first view of the cluster before it goes on without one.
const FIRST_VIEW: Duration = Duration::from_secs(2);

/// The router, with a view of the cluster if one could be had. A router works without; but a command that
/// makes one read would only ever show that of a router which has not heard of its cluster yet.
///
/// # Errors
/// A bad address or setting.
pub(crate) async fn connect(target: &TargetArgs) -> Result<Router, Failure> {
    let builder = Router::builder(target.nodes.iter().map(|node| node.trim()));
    let builder = target.settings.iter().fold(builder, |builder, (key, value)| builder.set_text(key, value));
    let router = builder.build()?;
    // If none comes, the reads say why better than this could.
    let _ = router.ready(FIRST_VIEW).await;
    Ok(router)
}
