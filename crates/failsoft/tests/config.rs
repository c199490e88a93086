//! Bad settings and addresses: a typed error that names the key, no password in it, and no connection.

mod support;

use failsoft::{Builder, Config, ConfigError, Error, Router, Setting, SettingKind as Kind, Tls};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const GOOD: &str = "127.0.0.1:1";

fn refused(builder: Builder) -> ConfigError {
    match builder.build() {
        Err(Error::Config(error)) => error,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("a router was built"),
    }
}

#[tokio::test]
async fn bad_addresses_name_nodes_and_what_is_allowed() {
    let cases = [
        ("", "is empty"),
        ("localhost:", "no port"),
        (":7000", "no host"),
        ("h:0", "out of range"),
        ("h:65536", "out of range"),
        ("h:x", "no number"),
        ("::1:7000", "brackets"),
        ("[::1]x", "else than a port"),
        ("[fe80::1%]:1", "scope"),
        ("[::1:7000", "`]`"),
        ("h :1", "space"),
        ("h\n:1", "control character"),
        ("h,i/:1", "characters"),
        ("h:1,", "is empty"),
        ("256.0.0.1:1", "IPv4"),
    ];
    for (address, why) in cases {
        let error = refused(Router::builder([GOOD, address]));
        assert_eq!(error.key, "nodes", "{address:?}");
        assert!(error.problem.contains(why) && error.problem.contains("allowed"), "{address:?}: {error}");
    }
    let error = refused(Router::builder(Vec::<String>::new()));
    assert_eq!(error.key, "nodes");
    assert!(error.problem.contains("at least one"), "{error}");
}

#[tokio::test]
async fn bad_urls_name_nodes_and_show_no_password() {
    let cases = [
        "http://user:hunter2@h:1",
        "ftp://h:1",
        "redis+unix:///run/redis.sock",
        "unix:///run/redis.sock",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@h:0",
        "redis://:hunter2@h:99999",
        "redis://:hunter2@h:x",
        "redis://:hunter2@h:1/3",
        "redis://:hunter2@h:1/nonsense",
        "rediss://:hunter2@h:1/3",
        "rediss://:hunter2@h:1/#insecure",
        "redis://:hunter2@h:1/?protocol=resp3",
        "redis://:hun@ter2@h o:1",
        "redis://bücher hunter2@::",
        "://:hunter2@h:1",
        "user:hunter2@h:1",
        ":hunter2@h",
    ];
    for url in cases {
        let error = refused(Router::builder([url]));
        assert_eq!(error.key, "nodes", "{url}: {error}");
        assert!(!error.to_string().contains("ter2"), "{url}: {error}");
        assert!(error.problem.contains("allowed") || error.problem.contains("database"), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_url_brings_user_password_and_tls() {
    let urls = [
        "redis://app:hunter2@127.0.0.1:1",
        "rediss://app:hunter2@127.0.0.1:1",
        "valkey://app:hunter2@127.0.0.1:1",
        "valkeys://app:hunter2@127.0.0.1:1",
        "valkey://:hunter2,3@127.0.0.1:1,127.0.0.1:2,redis://[::1]",
        "redis://[::1]:1",
        "redis://[fe80::1%25lo]:1",
        "redis://h:1/0",
    ];
    for url in urls {
        let router = Router::builder([url]).build().unwrap_or_else(|e| panic!("{url}: {e}"));
        router.close().await;
    }
    // The same ones twice are one.
    let same = Router::builder(["redis://app:a%40b@127.0.0.1:1", "127.0.0.1:2"]).username("app").password("a@b");
    same.build().expect("the same user and password").close().await;
}

#[tokio::test]
async fn credentials_that_contradict_each_other_are_refused_and_not_shown() {
    let two = Router::builder(["redis://app:hunter2@h:1", "redis://app:hunter3@h:2"]);
    let setting = Router::builder(["redis://:hunter2@h:1"]).password("hunter3");
    for builder in [two, setting] {
        let shown = format!("{builder:?}");
        let error = refused(builder);
        assert_eq!(error.key, "password");
        assert!(!error.to_string().contains("hunter") && !shown.contains("hunter"), "{error} {shown}");
    }
    assert_eq!(refused(Router::builder(["redis://app:x@h:1"]).username("other")).key, "username");
    let error = refused(Router::builder([GOOD]).username("app"));
    assert_eq!(error.key, "username");
    assert!(error.problem.contains("password"), "{error}");
    assert_eq!(refused(Router::builder(["redis://app@h:1"])).key, "username");
}

#[test]
fn nothing_that_can_be_printed_shows_a_secret() {
    let tls = Tls::new().client_pem("chain hunter2", "key hunter2").ca_pem("hunter2");
    let builder = Router::builder(["redis://app:hunter2@h:1"]).password("hunter2").tls(tls);
    assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");
    let error = refused(Router::builder([GOOD]).password("hunter2".repeat(10_000)));
    assert_eq!(error.key, "password");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

/// Values that are no values of a setting.
fn wrong(kind: Kind) -> Vec<Setting> {
    let ms = Duration::from_millis(1);
    let mut wrong = match kind {
        Kind::Duration { min, max, .. } => vec![
            Setting::Duration(max + ms),
            Setting::Millis(-1.0),
            Setting::Millis(f64::NAN),
            Setting::Millis(f64::INFINITY),
            Setting::Duration(if min.is_zero() { Duration::MAX } else { min - Duration::from_nanos(1) }),
            Setting::Integer(5),
        ],
        Kind::Integer { min, max } => vec![
            Setting::Integer(i64::from(max) + 1),
            Setting::Integer(i64::from(min) - 1),
            Setting::Integer(i64::MIN),
            Setting::Number(1.5),
            Setting::Number(f64::NAN),
            Setting::Duration(ms),
        ],
        Kind::Number { min, max } => {
            vec![
                Setting::Number(max + 0.01),
                Setting::Number(min - 0.01),
                Setting::Number(f64::NAN),
                Setting::Bool(true),
            ]
        }
        Kind::Bool => vec![Setting::Integer(1), Setting::Text("yes".into())],
        Kind::Choice { .. } => vec![Setting::Integer(1), Setting::Text("off".into()), Setting::Word("no word of it")],
        Kind::Word { max, .. } => {
            ["", "two words", "a\r\nb", &"x".repeat(max + 1)].map(|t| Setting::Text(t.into())).into()
        }
        Kind::Secret { max } => vec![Setting::Text(String::new()), Setting::Text("x".repeat(max + 1))],
        Kind::AddressMap { max } => vec![
            Setting::Text("h:1".into()),
            Setting::List(vec!["h:1=".into()]),
            Setting::List(vec!["h:1=i:0".into()]),
            Setting::List(vec!["h:1=i:1".into(), "h:1=i:2".into()]),
            Setting::List(vec!["h:1=i:1".into(); max + 1]),
            Setting::Bool(true),
        ],
    };
    if !matches!(
        kind,
        Kind::Duration { off: true, .. } | Kind::Word { .. } | Kind::Secret { .. } | Kind::AddressMap { .. }
    ) {
        wrong.push(Setting::Off);
        wrong.push(Setting::List(Vec::new()));
    }
    wrong
}

#[tokio::test]
async fn every_setting_out_of_range_names_its_key_and_what_is_allowed() {
    for spec in Config::KEYS {
        for value in wrong(spec.kind) {
            let shown = format!("{} = {value:?}", spec.name);
            let error = refused(Router::builder([GOOD]).set(spec.name, value));
            assert_eq!(error.key, spec.name, "{shown}: {error}");
            assert!(
                error.problem.contains("allowed") && error.problem.contains("`=`")
                    || error.problem.contains("port")
                    || error.problem.contains(&spec.kind.to_string()),
                "{shown}: {error}"
            );
        }
        let text_key =
            if matches!(spec.kind, Kind::Duration { .. }) { format!("{}_ms", spec.name) } else { spec.name.into() };
        if !matches!(spec.kind, Kind::Word { .. } | Kind::Secret { .. }) {
            let error = refused(Router::builder([GOOD]).set_text(&text_key, "nonsense"));
            assert_eq!(error.key, text_key);
        }
    }
}

#[tokio::test]
async fn an_unknown_key_is_told_with_those_that_exist() {
    let error = refused(Router::builder([GOOD]).set("max_retrys", Setting::Integer(1)));
    assert_eq!(error.key, "max_retrys");
    assert!(error.problem.contains("allowed: max_retries"), "the closest first: {error}");
    assert!(refused(Router::builder([GOOD]).set_text("deadline", "1")).problem.contains("deadline_ms"));
    // The first problem is the one that is told, and nothing after it hides it.
    let error = refused(Router::builder(["bad:"]).max_retries(11).deadline(Duration::ZERO));
    assert_eq!(error.key, "max_retries");
}

#[tokio::test]
async fn tls_settings_are_checked_at_once() {
    let cases = [
        Tls::new().ca_pem("no pem"),
        Tls::new().ca_pem(""),
        Tls::new().ca_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        Tls::new().client_pem("no pem", "no pem"),
        Tls::new().server_name("no name"),
        Tls::new().server_name(""),
    ];
    for tls in cases {
        assert_eq!(refused(Router::builder([GOOD]).tls(tls)).key, "tls");
    }
}

#[test]
fn a_router_needs_a_runtime() {
    let error = refused(Router::builder([GOOD]));
    assert_eq!(error.key, "runtime");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let router = Router::builder([GOOD]).runtime(runtime.handle().clone()).build().expect("with a runtime given");
    runtime.block_on(router.close());
}

#[tokio::test]
async fn a_refused_router_has_connected_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let node = address.to_string();
    refused(Router::builder([node.as_str(), "bad:"]));
    refused(Router::builder([node.as_str()]).max_retries(11));
    refused(Router::builder([node.as_str()]).username("app"));
    refused(Router::builder([format!("redis://:x@{node}")]).password("y"));
    refused(Router::builder([node.as_str()]).tls(Tls::new().ca_pem("no pem")));
    // Whatever had been started would get its turn now; connections are accepted in their order.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let ours = TcpStream::connect(address).await.expect("connects");
    let (_, first) = listener.accept().await.expect("a connection");
    assert_eq!(first, ours.local_addr().expect("its address"));
}
