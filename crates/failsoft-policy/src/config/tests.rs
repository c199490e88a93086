//! Every setting's default, range, kinds and text form.

use super::*;
use alloc::vec;

fn spec(name: &str) -> &'static KeySpec {
    Config::KEYS.iter().find(|spec| spec.name == name).expect(name)
}

/// The problem of a refused setting, which must not have changed anything.
fn refused(key: &str, value: Setting) -> String {
    let mut config = Config::default();
    let error = config.set(key, value).expect_err(key);
    assert_eq!(error.key, key);
    assert_eq!(config, Config::default());
    error.problem
}

#[test]
fn the_defaults() {
    let config = Config::default();
    assert_eq!((config.max_retries(), config.max_redirects(), config.max_in_flight()), (3, 5, 10_000));
    let ms = Duration::from_millis;
    assert_eq!(config.base_backoff(), ms(50));
    assert_eq!(config.attempt_timeout(), ms(250));
    assert_eq!(config.deadline(), ms(1_000));
    assert_eq!(config.connect_timeout(), ms(500));
    assert_eq!(config.slot_refresh_interval(), ms(15_000));
    assert_eq!(config.outage_budget(), ms(30_000));
    assert_eq!(config.fill_ttl(), ms(300_000));
    assert_eq!(config.load_timeout(), ms(10_000));
    assert_eq!((config.max_concurrent_loads(), config.failure_pause()), (256, None));
    assert_eq!((config.fill(), config.ttl_jitter()), (true, 0.1));
    assert_eq!(config.invalidate_durability(), Durability::Replica);
    assert_eq!((config.username(), config.password(), config.client_name()), (None, None, None));
    assert_eq!(config.address_map(), []);
}

#[test]
fn the_table_can_be_read() {
    for spec in Config::KEYS {
        assert!(!spec.doc.is_empty() && !spec.doc.starts_with(' '), "{}", spec.name);
        let mut config = Config::default();
        config.set(spec.name, spec.default.clone()).expect(spec.name);
        assert_eq!(config, Config::default());
    }
    assert_eq!(spec("attempt_timeout").kind.to_string(), "1 ms to 1 h");
    assert_eq!(spec("fill_ttl").kind.to_string(), "1 ms to 365 d");
    assert_eq!(spec("outage_budget").default.to_string(), "30 s");
    assert_eq!(spec("username").default.to_string(), "off");
    assert_eq!(spec("failure_pause").kind.to_string(), "1 ms to 60 s, or off");
    assert_eq!(spec("invalidate_durability").kind.to_string(), "primary, replica or all");
    assert_eq!(spec("invalidate_durability").default.to_string(), "replica");
}

#[test]
fn every_range_holds_its_ends_and_no_more() {
    let tick = Duration::from_nanos(1);
    for spec in Config::KEYS {
        let (good, bad) = match spec.kind {
            Kind::Duration { min, max, .. } => (
                vec![Setting::Duration(min), Setting::Duration(max), Setting::Millis(max.as_millis() as f64)],
                vec![Setting::Duration(max + tick), Setting::Millis(-1.0), Setting::Millis(f64::NAN)]
                    .into_iter()
                    .chain(min.checked_sub(tick).map(Setting::Duration))
                    .chain([Setting::Millis(f64::INFINITY), Setting::Millis(f64::MAX)])
                    .collect(),
            ),
            Kind::Integer { min, max } => (
                vec![Setting::Integer(min.into()), Setting::Integer(max.into()), Setting::Number(max.into())],
                vec![
                    Setting::Integer(i64::from(min) - 1),
                    Setting::Integer(i64::from(max) + 1),
                    Setting::Integer(i64::MAX),
                    Setting::Integer(i64::MIN),
                    Setting::Integer((1 << 32) + i64::from(max)),
                    Setting::Number(1.5),
                    Setting::Number(f64::NAN),
                    Setting::Number(f64::INFINITY),
                    Setting::Number(1e300),
                ],
            ),
            Kind::Number { min, max } => (
                vec![Setting::Number(min), Setting::Number(max), Setting::Integer(max as i64)],
                vec![
                    Setting::Number(min - 0.001),
                    Setting::Number(max + 0.001),
                    Setting::Number(f64::NAN),
                    Setting::Number(f64::NEG_INFINITY),
                ],
            ),
            Kind::Bool => (vec![Setting::Bool(true), Setting::Bool(false)], vec![Setting::Integer(1)]),
            Kind::Choice { words } => (
                words.iter().flat_map(|&word| [Setting::Word(word), Setting::Text(word.into())]).collect(),
                ["", "off", "nonsense", "Primary"].map(|word| Setting::Text(word.into())).into(),
            ),
            Kind::Word { max, .. } | Kind::Secret { max } => (
                vec![Setting::Off, Setting::Text("x".repeat(max))],
                vec![Setting::Text(String::new()), Setting::Text("x".repeat(max + 1)), Setting::Bool(false)],
            ),
            Kind::AddressMap { max } => (
                vec![Setting::Off, Setting::List(vec![]), Setting::List(vec!["a:1=b:2".into()])],
                vec![Setting::Text(String::new()), Setting::List(vec!["a:1=b:2".into(); max + 1])],
            ),
        };
        for value in good {
            Config::default().set(spec.name, value).expect(spec.name);
        }
        for value in bad {
            let problem = refused(spec.name, value.clone());
            let allowed = if matches!(value, Setting::Text(_)) { "allowed: " } else { &spec.kind.to_string() };
            assert!(problem.contains(allowed), "{}: {value:?}: {problem}", spec.name);
        }
    }
}

#[test]
fn another_kind_is_refused() {
    let values = [
        Setting::Duration(Duration::from_secs(1)),
        Setting::Millis(1_000.0),
        Setting::Integer(1),
        Setting::Number(1.0),
        Setting::Bool(true),
        Setting::Text("1".into()),
        Setting::List(vec![]),
        Setting::Off,
    ];
    for spec in Config::KEYS {
        let taken = values.iter().filter(|value| Config::default().set(spec.name, (*value).clone()).is_ok()).count();
        // Two forms each: with its unit or without, whole or not, text or list, and off.
        let expected = match spec.kind {
            // None of these is one of its words.
            Kind::Choice { .. } => 0,
            Kind::Bool => 1,
            Kind::Duration { off: true, .. } => 3,
            _ => 2,
        };
        assert_eq!(taken, expected, "{}", spec.name);
    }
}

#[test]
fn messages_name_the_value_and_what_is_allowed() {
    assert_eq!(refused("attempt_timeout", Setting::Millis(0.0)), "0 ms is out of range; allowed: 1 ms to 1 h");
    assert_eq!(refused("deadline", Setting::Millis(f64::NAN)), "NaN ms is out of range; allowed: 1 ms to 1 h");
    assert_eq!(refused("deadline", Setting::Integer(5)), "5 is not a duration; allowed: 1 ms to 1 h");
    assert_eq!(refused("max_retries", Setting::Integer(11)), "11 is out of range; allowed: 0 to 10");
    assert_eq!(refused("max_retries", Setting::Number(2.5)), "2.5 is not a whole number; allowed: 0 to 10");
    assert_eq!(refused("ttl_jitter", Setting::Number(1.5)), "1.5 is out of range; allowed: 0 to 1");
    assert_eq!(refused("ttl_jitter", Setting::Number(1e300)), "1e300 is out of range; allowed: 0 to 1");
    assert_eq!(refused("deadline", Setting::Millis(-1e300)), "-1e300 ms is out of range; allowed: 1 ms to 1 h");
    assert_eq!(refused("fill", Setting::Text("maybe".into())), r#""maybe" is not a boolean; allowed: true or false"#);
    assert_eq!(refused("fill", Setting::Off), "off is not a boolean; allowed: true or false");
}

#[test]
fn an_unknown_key_names_the_known_ones_in_their_order_but_for_one_that_resembles_it() {
    let error = Config::default().set("atempt_timeout", Setting::Millis(1.0)).expect_err("unknown");
    assert_eq!(error.key, "atempt_timeout");
    assert!(error.problem.starts_with("no such key; allowed: attempt_timeout, "), "{error}");
    let others: Vec<_> = Config::KEYS.iter().map(|spec| spec.name).filter(|name| *name != "attempt_timeout").collect();
    assert!(error.problem.ends_with(&others.join(", ")), "{error}");
    for nothing_like_it in ["", "class", "x".repeat(40).as_str()] {
        let error = Config::default().set(nothing_like_it, Setting::Off).expect_err("unknown");
        let all: Vec<_> = Config::KEYS.iter().map(|spec| spec.name).collect();
        assert_eq!(error.problem, format!("no such key; allowed: {}", all.join(", ")));
    }
    let error = Config::default().set_text("deadline", "5").expect_err("a duration needs its unit");
    assert!(error.problem.starts_with("no such key; allowed: deadline_ms, "), "{error}");
    let error = Config::default().set(&"ü\n".repeat(1_000_000), Setting::Off).expect_err("unknown");
    assert!(error.key.len() < 1_000 && !error.key.contains('\n'));
}

#[test]
fn text_settings() {
    let mut config = Config::default();
    for (key, text) in [
        ("deadline_ms", "1500.5"),
        ("max_retries", "0"),
        ("ttl_jitter", "0.25"),
        ("fill", "false"),
        ("username", "app"),
        ("password", " p w "),
        ("client_name", "web-1"),
        ("address_map", "[::1]:7000=nat.example:1, 10.0.0.1:6379=127.0.0.1:7001"),
    ] {
        config.set_text(key, text).expect(key);
    }
    assert_eq!(config.deadline(), Duration::from_micros(1_500_500));
    assert_eq!((config.max_retries(), config.ttl_jitter(), config.fill()), (0, 0.25, false));
    assert_eq!((config.username(), config.password()), (Some("app"), Some(" p w ")));
    assert_eq!(config.client_name(), Some("web-1"));
    let map: Vec<String> = config.address_map().iter().map(|(from, to)| format!("{from}={to}")).collect();
    assert_eq!(map, ["10.0.0.1:6379=127.0.0.1:7001", "[::1]:7000=nat.example:1"]);
    for key in ["username", "password", "client_name", "address_map"] {
        config.set_text(key, "").expect("off");
    }
    assert_eq!((config.username(), config.password(), config.client_name()), (None, None, None));
    assert_eq!(config.address_map(), []);
}

#[test]
fn off_as_a_text_is_off_unless_it_is_a_value() {
    for spec in Config::KEYS.iter().filter(|spec| spec.kind.to_string().ends_with(", or off")) {
        let (mut by_word, mut by_nothing) = (Config::default(), Config::default());
        let (key, value) = match spec.kind {
            Kind::Duration { .. } => (format!("{}_ms", spec.name), "5000"),
            Kind::AddressMap { .. } => (spec.name.to_string(), "a:1=b:1"),
            _ => (spec.name.to_string(), "something"),
        };
        for (config, text) in [(&mut by_word, "off"), (&mut by_nothing, "")] {
            config.set_text(&key, value).expect(&key);
            config.set_text(&key, text).expect(&key);
        }
        let mut off = Config::default();
        off.set(spec.name, Setting::Off).expect(&key);
        assert_eq!(by_nothing, off, "{key}");
        let literal = match spec.kind {
            Kind::Word { .. } | Kind::Secret { .. } => Setting::Text("off".into()),
            _ => Setting::Off,
        };
        let mut expected = Config::default();
        expected.set(spec.name, literal).expect(&key);
        assert_eq!(by_word, expected, "{key}");
    }
    let mut config = Config::default();
    config.set_text("password", "off").expect("a password");
    assert_eq!(config.password(), Some("off"));
    config.set("failure_pause", Setting::Text("off".into())).expect("off, whoever writes it as a text");
    assert_eq!(config.failure_pause(), None);
}

#[test]
fn bad_texts_are_refused() {
    for (key, text) in [
        ("deadline_ms", ""),
        ("deadline_ms", " 5"),
        ("deadline_ms", "5s"),
        ("deadline_ms", "nan"),
        ("deadline_ms", "inf"),
        ("deadline_ms", "-5"),
        ("deadline_ms", "off"),
        ("failure_pause_ms", "Off"),
        ("failure_pause_ms", "none"),
        ("fill", "off"),
        ("max_retries", ""),
        ("max_retries", "3.0"),
        ("max_retries", "99999999999999999999"),
        ("ttl_jitter", "10%"),
        ("fill", "TRUE"),
        ("fill", ""),
        ("username", "a b"),
        ("username", "a\0"),
        ("client_name", "wéb"),
        ("client_name", "a\nb"),
        ("address_map", "a:1"),
        ("address_map", "a:1=b:"),
        ("address_map", "a:=b:1"),
        ("address_map", "a:1=b:1,"),
        ("address_map", "a:1=b:1,a:1=c:1"),
        ("address_map", "a:1=b:1=c:1"),
    ] {
        let error = Config::default().set_text(key, text).expect_err(text);
        assert_eq!(error.key, key);
        assert!(error.problem.contains("allowed: "), "{error}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let secret = "hunter2";
    let mut config = Config::default();
    let setting = Setting::Text(secret.into());
    assert!(!format!("{setting:?}").contains(secret));
    config.set("password", setting).expect("a password");
    assert!(!format!("{config:?}").contains(secret));
    assert_eq!(config.password(), Some(secret));
    for value in [Setting::Text(secret.repeat(10_000)), Setting::List(vec![secret.into()]), Setting::Integer(7_654_321)]
    {
        let error = config.set("password", value).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains(secret) && !error.problem.contains("7654321"), "{error}");
    }
}
