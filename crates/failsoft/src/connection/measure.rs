use super::*;
use crate::clock::Clock;
use failsoft_policy::Endpoint;
use std::sync::Arc;
use std::time::Duration;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) * 0.01
}
#[test]
fn measure() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let multi = std::env::var("MULTI").ok();
    let n: usize = std::env::var("N").unwrap().parse().unwrap();
    let total: usize = std::env::var("TOTAL").unwrap().parse().unwrap();
    let rt = match multi {
        Some(w) => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(w.parse().unwrap()).enable_all().build().unwrap()
        }
        None => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
    };
    let clock = Clock::new();
    rt.block_on(async {
        let config = LaneConfig {
            endpoint: Endpoint { host: "127.0.0.1".into(), port },
            readonly: false,
            connect_timeout: Duration::from_millis(500),
            attempt_timeout: Duration::from_millis(250),
            max_in_flight: 10000,
            username: None,
            password: None,
            client_name: None,
            tls: None,
        };
        let lane = Lane::open(Arc::new(config), clock, &tokio::runtime::Handle::current());
        let v = vec![b'v'; 100];
        lane.command(&[b"SET", b"key:000000000001", &v], false, clock.now() + Duration::from_secs(1))
            .unwrap()
            .await
            .unwrap();
        for round in 0..3 {
            let c0 = cpu();
            let t0 = std::time::Instant::now();
            let tasks: Vec<_> = (0..n)
                .map(|_| {
                    let lane = lane.clone();
                    tokio::spawn(async move {
                        for _ in 0..total / n {
                            let r = lane
                                .get(b"key:000000000001", false, clock.now() + Duration::from_secs(1))
                                .unwrap()
                                .await
                                .unwrap();
                            assert!(matches!(r, Reply::Value(_)));
                        }
                    })
                })
                .collect();
            for t in tasks {
                t.await.unwrap();
            }
            println!(
                "round {round}: {:.3} us cpu/get, {:.3} us wall",
                (cpu() - c0) * 1e6 / total as f64,
                t0.elapsed().as_secs_f64() * 1e6 / total as f64
            );
        }
    });
}
