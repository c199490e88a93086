//! What an observer is told of: a cluster that is not found, nodes that are lost and back, fills that were not written.

mod support;

use failsoft::{Bytes, Event, EventKind};
use failsoft_testkit::Behaviour;
use std::sync::{Arc, Mutex};
use support::{eventually, patient, scripted};

#[tokio::test]
async fn an_observer_is_told_that_no_cluster_is_found_and_why() {
    let node = scripted().await;
    node.on("CLUSTER", Behaviour::error("ERR not now"));
    node.on("INFO", Behaviour::error("ERR not now"));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let builder = patient([node.address()]).observer(move |event| drop(tell.send(event.clone())));
    let router = builder.build().expect("good settings");
    let event = tokio::time::timeout(support::LONG, told.recv()).await.expect("in time").expect("an event");
    assert_eq!((event.kind, event.count, event.subjects.len()), (EventKind::NoView, 1, 1));
    assert_eq!(event.subjects[0].node.as_ref().map(ToString::to_string), Some(node.address()));
    assert_eq!(event.subjects[0].word, Some("error_reply"));
    router.close().await;
}

#[tokio::test]
async fn an_observer_is_told_of_nodes_and_fills() {
    let node = scripted().await;
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let log = Arc::clone(&told);
    let builder = patient([node.address()]).observer(move |event| {
        log.lock().expect("nobody panics with it").push(event.clone());
        panic!("an observer's panic is its own affair");
    });
    let router = builder.build().expect("good settings");
    let heard = async |kind: EventKind| {
        let mut found = None;
        eventually(kind.as_str(), async || {
            found = told.lock().expect("nobody panics with it").iter().find(|event| event.kind == kind).cloned();
            found.is_some()
        })
        .await;
        found.expect("it was waited for")
    };
    router.ready(support::LONG).await.expect("a view");
    assert!(told.lock().expect("nobody panics with it").is_empty(), "a node that is well is no news");

    node.refuse_connections(true).await.expect("it refuses");
    node.close_connections();
    let down = heard(EventKind::NodeDown).await;
    assert_eq!(down.count, 1);
    assert_eq!(down.subjects[0].node.as_ref().map(ToString::to_string), Some(node.address()));
    assert!(down.subjects[0].word.is_some());
    node.refuse_connections(false).await.expect("it accepts");
    heard(EventKind::NodeUp).await;

    node.on("FILL", Behaviour::error("OOM command not allowed when used memory > 'maxmemory'."));
    let value =
        router.get_with_fallback("k", async |_, _| Ok::<_, std::io::Error>(Some(Bytes::from_static(b"v")))).await;
    assert_eq!(value.expect("a value").as_deref(), Some(&b"v"[..]));
    let failed = heard(EventKind::FillFailed).await;
    assert!(failed.subjects.iter().all(|subject| subject.node.is_none() && subject.word.is_some()), "{failed:?}");
    router.close().await;
}
