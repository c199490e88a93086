//! Late callers, and what a load leaves behind.

use super::*;
use crate::Router;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn who_set_out_before_a_load_ended_gets_its_result() {
    let router = Router::builder(["127.0.0.1:1"]).build().expect("good settings");
    let runs = Arc::new(AtomicUsize::new(0));
    let get = async |began| {
        let runs = Arc::clone(&runs);
        let call = Call::once(move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(Values::One(Some(Bytes::from_static(b"v")))) })
        });
        let wanted = vec![Wanted {
            key: Bytes::from_static(b"k"),
            confirmed: None,
            lease_by: None,
            over: None,
            since: Instant::ZERO,
        }];
        let got = load(router.shared(), wanted, began, None, call).await.expect("an open router");
        (got[0].result.clone().expect("a value"), got[0].coalesced)
    };
    let began = router.shared().now();
    assert_eq!(get(began).await, (Some(Bytes::from_static(b"v")), false));
    assert_eq!(get(began).await, (Some(Bytes::from_static(b"v")), true));
    assert_eq!(runs.load(Ordering::Relaxed), 1, "the second set out before the first one's load had ended");
    assert!(!get(router.shared().now()).await.1);
    assert_eq!(runs.load(Ordering::Relaxed), 2, "the third set out after it");
}

#[tokio::test(start_paused = true)]
async fn results_do_not_stay_when_nothing_happens_any_more() {
    let router = Router::builder(["127.0.0.1:1"]).build().expect("good settings");
    let call = Call::once(|_| Box::pin(async { Ok(Values::One(Some(Bytes::from_static(b"v")))) }));
    let wanted = vec![Wanted {
        key: Bytes::from_static(b"k"),
        confirmed: None,
        lease_by: None,
        over: None,
        since: Instant::ZERO,
    }];
    let shared = router.shared();
    load(shared, wanted, shared.now(), None, call).await.expect("an open router");
    assert_eq!(shared.loads.lock().results.len(), 1);
    // The router's clock is the machine's, which the runtime's pause does not stop.
    let until = shared.now() + shared.config().deadline() * 10;
    while !shared.loads.lock().results.is_empty() {
        assert!(shared.now() < until, "still kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn loads_in_line_end_with_the_runtime_that_would_run_them() {
    let runtimes = [(); 2].map(|()| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());
    let [routers, callers] = runtimes.map(|runtime| runtime.expect("threads"));
    let router = routers.block_on(async { Router::builder(["127.0.0.1:1"]).max_concurrent_loads(1).build() });
    let router = router.expect("good settings");
    let reads: Vec<_> = (0..1_000)
        .map(|n| {
            let shared = Arc::clone(router.shared());
            let wanted = vec![Wanted {
                key: Bytes::from(n.to_string()),
                confirmed: None,
                lease_by: None,
                over: None,
                since: Instant::ZERO,
            }];
            let call = Call::once(|_| Box::pin(std::future::pending()));
            callers.spawn(async move { load(&shared, wanted, shared.now(), None, call).await })
        })
        .collect();
    while router.shared().loads.counts().1 < reads.len() - 1 {
        std::thread::yield_now();
    }
    routers.shutdown_background();
    for read in reads {
        let got = callers.block_on(read).expect("no panic").expect("an open router");
        assert!(matches!(got[0].result, Err(Error::Fallback(_))), "{:?}", got[0].result);
    }
}
