//! temp
use failsoft::{Bytes, Router};
use failsoft_testkit::{Cluster, Server};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let t = Instant::now();
    let cluster = Cluster::builder().server(&Server::find(None).unwrap()).primaries(3).replicas(1).node_timeout(Duration::from_secs(2)).start().await.unwrap();
    eprintln!("up in {:?}", t.elapsed());
    let router = Router::builder(cluster.addresses()).build().unwrap();
    let t = Instant::now();
    let o = router.resolve("a").fallback(|_k, _r| async { Ok::<_, std::io::Error>(Some(Bytes::from_static(b"loaded"))) }).await;
    eprintln!("{o:?} in {:?}", t.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let o = router.resolve("a").await;
    eprintln!("{o:?}");
    for i in 0..100 { router.set(format!("k{i}"), format!("v{i}"), None).await.unwrap(); }
    for i in 0..100 { assert_eq!(router.resolve(format!("k{i}")).await.unwrap().value.unwrap(), format!("v{i}")); }
    eprintln!("{}", router.health().to_json());
    let slot = failsoft_testkit::slot_of("k1");
    let owner = cluster.owner_of(slot).await.unwrap();
    cluster.hang(owner).unwrap();
    let start = Instant::now();
    let mut last = String::new();
    while start.elapsed() < Duration::from_secs(9) {
        let t = Instant::now();
        let o = router.resolve("k1").fallback(|_k, _r| async { Ok::<_, std::io::Error>(Some(Bytes::from_static(b"loaded"))) }).await.unwrap();
        let d = t.elapsed();
        let s = format!("{} {:?} {:?}", o.served_by, o.reason, o.node.map(|n| n.to_string()));
        if s != last || d > Duration::from_millis(20) { eprintln!("{:?} {s} took {d:?} age {:?} attempts {}", start.elapsed(), o.age, o.attempts); last = s; }
        if start.elapsed() > Duration::from_secs(6) { cluster.resume(owner).unwrap(); }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for n in router.health().nodes { eprintln!("{} {} {} {:?} epoch {} validated {}", n.address, n.role, n.breaker, n.trouble, n.epoch, n.validated); }
    router.close().await;
}
