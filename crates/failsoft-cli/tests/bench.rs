//! `failsoft bench` on a real server.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

use common::{done, failsoft};
use failsoft_testkit::{Server, Standalone};

async fn server() -> Standalone {
    let server = Server::find(None).expect("a server");
    Standalone::start(&server, &[]).await.expect("it starts")
}

#[tokio::test]
async fn it_fills_reads_and_reports() {
    let server = server().await;
    let args = ["bench", "--node", &server.address(), "--seconds", "1", "--keys", "50", "--value-bytes", "10"];
    let report =
        done(&mut failsoft(&[&args[..], &["--fill", "--readers", "2", "--in-flight", "8", "--json"]].concat()));
    assert_eq!(report.code, Some(0), "{}", report.err);
    let report = report.json();
    let reads = report["reads"].as_u64().unwrap();
    assert!(reads > 100, "{report}");
    assert_eq!(
        (report["errors"].as_u64(), report["served_by"]["primary"].as_u64()),
        (Some(0), Some(reads)),
        "{report}"
    );
    for pair in ["p50_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms"].windows(2) {
        assert!(report[pair[0]].as_f64() <= report[pair[1]].as_f64(), "{report}");
    }
    assert!(report["cpu_us_per_read"].as_f64() > Some(0.0), "{report}");
    let written = server.command(&["STRLEN", "failsoft-bench:49"]).await.unwrap();
    assert_eq!(format!("{written:?}"), "int(10)");

    let text = done(&mut failsoft(&args));
    let words = String::from_utf8(text.out).unwrap();
    assert_eq!(text.code, Some(0), "{}", text.err);
    assert!(words.contains("p99.9") && words.contains("served by   primary"), "{words}");
}

#[tokio::test]
async fn keys_that_cannot_be_written_are_an_error() {
    let server = server().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let args = ["bench", "--node", &server.address(), "--seconds", "1", "--fill"];
    let refused = done(&mut failsoft(&args));
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("--fill"), "{}", refused.err);
}

#[test]
fn a_cluster_that_is_not_there_is_an_error_that_names_who_was_asked() {
    let refused = done(&mut failsoft(&["bench", "--node", "127.0.0.1:1", "--seconds", "1"]));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("nothing to measure") && refused.err.contains("127.0.0.1:1: "), "{}", refused.err);
}
