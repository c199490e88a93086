//! Answers as servers give them, and as they give them in odd moments.

use super::*;
use failsoft_policy::Endpoint;
use failsoft_policy::view::Role;

fn via() -> Endpoint {
    Endpoint { host: "here".to_owned(), port: 7000 }
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn array(items: Vec<Value>) -> Value {
    Value::Array(items)
}

fn numbers(of: &[i64]) -> Value {
    array(of.iter().map(|&n| Value::Int(n)).collect())
}

/// A node of `CLUSTER SHARDS`.
fn member(id: &str, role: &str, health: &str, offset: i64, more: Vec<Value>) -> Value {
    let mut words = vec![bulk("id"), bulk(id), bulk("ip"), bulk(&format!("ip-{id}"))];
    words.extend([bulk("role"), bulk(role), bulk("health"), bulk(health)]);
    words.extend([bulk("replication-offset"), Value::Int(offset)]);
    words.extend(more);
    array(words)
}

fn port(port: i64) -> Vec<Value> {
    vec![bulk("port"), Value::Int(port)]
}

fn shard(slots: &[i64], members: Vec<Value>) -> Value {
    array(vec![bulk("slots"), numbers(slots), bulk("nodes"), array(members)])
}

fn owners(map: &Map) -> Vec<(&str, &[(u16, u16)])> {
    let owners = map.nodes.iter().filter(|n| n.role == Role::Primary);
    owners.map(|n| (n.id.as_str(), n.slots.as_slice())).collect()
}

#[test]
fn a_failed_former_primary_gets_no_slots() {
    let of = |members| shards(&array(vec![shard(&[0, 16_383], members)]), &via(), false).expect("readable");
    let dead = || member("dead", "master", "failed", 900, port(1));
    let new = || member("new", "master", "online", 100, port(2));
    for members in [vec![dead(), new()], vec![new(), dead()]] {
        let map = of(members);
        assert_eq!(owners(&map), [("new", &[(0, 16_383)][..])]);
        let role = map.nodes.iter().find(|n| n.id == "dead").map(|n| n.role.clone());
        assert_eq!(role, Some(Role::Replica(Some("new".to_owned()))));
    }
    // Two that are well: the one that has more.
    let map = of(vec![new(), member("ahead", "master", "online", 101, port(3))]);
    assert_eq!(owners(&map), [("ahead", &[(0, 16_383)][..])]);
    // Nobody has taken over: its slots are still its own.
    let map = of(vec![dead(), member("r", "replica", "online", 100, port(4))]);
    assert_eq!(owners(&map), [("dead", &[(0, 16_383)][..])]);
}

#[test]
fn a_map_without_a_shards_slots_is_doubtful_and_one_with_an_idle_node_is_not() {
    let map = |shards_of: Vec<Value>| shards(&array(shards_of), &via(), false).expect("readable");
    let one = |slots: &[i64], id: &str| shard(slots, vec![member(id, "master", "online", 0, port(1))]);
    assert!(!map(vec![one(&[0, 16_383], "a"), one(&[], "idle")]).is_doubtful());
    assert!(map(vec![one(&[0, 8191], "a"), one(&[], "b")]).is_doubtful());
    assert!(!map(vec![one(&[0, 8191], "a")]).is_doubtful(), "slots that nobody was given");
    assert_eq!(map(vec![one(&[0, 8191], "a"), one(&[], "b")]).covered(), 8192);
}

#[test]
fn the_port_is_the_one_of_the_connection_s_kind() {
    let both = |mut plain: Vec<Value>, tls: i64| {
        plain.extend([bulk("tls-port"), Value::Int(tls)]);
        plain
    };
    let at = |more: Vec<Value>, tls: bool| {
        let value = array(vec![shard(&[0, 1], vec![member("a", "master", "online", 0, more)])]);
        let map = shards(&value, &via(), tls).expect("readable");
        map.nodes[0].endpoint.clone().expect("an endpoint").port
    };
    assert_eq!(at(both(port(7000), 7050), true), 7050);
    assert_eq!(at(both(port(7000), 7050), false), 7000);
    assert_eq!(at(both(Vec::new(), 7050), true), 7050);
    assert_eq!(at(port(7000), true), 7000, "a server that names no other");
    assert_eq!(at(both(port(7000), 0), true), 7000);
    assert_eq!(at(both(port(0), 7050), false), 7050);
}

#[test]
fn what_slots_says_of_names() {
    let node = |words: Vec<Value>| array(vec![Value::Int(0), Value::Int(9), array(words)]);
    let row = node(vec![bulk("one"), Value::Int(7000), bulk("a"), array(vec![bulk("ip"), bulk("10.0.0.1")])]);
    let map = slots(&array(vec![row]), &via()).expect("readable");
    let name = &map.names["a"];
    assert_eq!((name.ip.as_deref(), name.hostname.as_deref()), (Some("10.0.0.1"), Some("one")));
    assert_eq!(map.id_at(&Endpoint { host: "one".to_owned(), port: 7000 }).as_deref(), Some("a"));
    // Before 7.0: no metadata; before 4.0: no ids.
    let map = slots(&array(vec![node(vec![bulk("10.0.0.1"), Value::Int(7000), bulk("a")])]), &via()).expect("readable");
    assert_eq!((map.names["a"].ip.as_deref(), &map.names["a"].hostname), (Some("10.0.0.1"), &None));
    let map = slots(&array(vec![node(vec![bulk("10.0.0.1"), Value::Int(7000)])]), &via()).expect("readable");
    assert_eq!(owners(&map), [("10.0.0.1:7000", &[(0, 9)][..])]);
}

#[test]
fn a_line_that_cannot_be_read_costs_one_node() {
    let text = "a 10.0.0.1:7000@17000,one,shard-id=x myself,master,something-new - 0 0 3 connected 0-9 [5-><-b]  \r\n\
                b 10.0.0.2:7000 slave a 0 0 3 connected\n\
                c :0@0 slave,noaddr - 0 0 0 disconnected\n\
                d  handshake - 0 0 0 connected\n\
                e 10.0.0.5:7000@17000 master - 0 0 what connected 10-16383\n\
                f\n";
    let listed = nodes(text, &via()).expect("readable");
    assert_eq!(listed.myself.as_deref(), Some("a"));
    assert_eq!(listed.own_role(), Some(&Role::Primary));
    assert_eq!(listed.addresses["a"].hostname, "one");
    let named = [("a".to_owned(), Endpoint { host: "one".to_owned(), port: 7000 })].into();
    let found = listed.into_nodes(&named);
    assert_eq!(found.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found[0].slots.as_slice(), found[0].epoch), (&[(0, 9)][..], Some(3)));
    let hosts: Vec<_> = found.iter().map(|n| n.endpoint.as_ref().map(|e| e.host.as_str())).collect();
    assert_eq!(hosts, [Some("one"), Some("10.0.0.2")]);
    assert!(nodes("what is this", &via()).is_err());
    assert!(nodes("", &via()).expect("nothing").myself.is_none());
}

#[test]
fn offsets_count_in_a_history() {
    let told = |role: &str, id: &str| {
        let mut report = NodeReport::default();
        let text = format!("role:{role}\r\nmaster_replid:{id}\r\nmaster_repl_offset:9\r\nslave_repl_offset:7\r\n");
        info(&text, &mut report);
        (report.offset, report.history)
    };
    let id = "00000000000000000000000000000a0b01234567";
    assert_eq!(told("master", id), (Some(9), Some(0xa0b)));
    assert_eq!(told("slave", id), (Some(7), Some(0xa0b)));
    assert_eq!(told("master", "short").1, None);
    assert_eq!(told("master", "not hexadecimal, but long enough to be").1, None);
}

#[test]
fn roles_in_other_words_than_info() {
    let mut report = NodeReport::default();
    assert!(role(&array(vec![bulk("master"), Value::Int(42), array(vec![])]), &mut report));
    assert_eq!((report.primary, report.offset, report.link_up), (true, Some(42), None));
    let state = |state| array(vec![bulk("slave"), bulk("h"), Value::Int(1), bulk(state), Value::Int(41)]);
    assert!(role(&state("connected"), &mut report));
    assert_eq!((report.primary, report.offset, report.link_up), (false, Some(41), Some(true)));
    assert!(role(&state("sync"), &mut report));
    assert_eq!(report.link_up, Some(false));
    assert!(!role(&array(vec![bulk("sentinel")]), &mut report));
    assert!(!role(&bulk("master"), &mut report));
    let said = array(vec![bulk("mode"), bulk("cluster"), bulk("role"), bulk("replica")]);
    assert_eq!(hello(&said), Greeting { primary: Some(false), standalone: false });
    let said = Value::Map(vec![(bulk("mode"), bulk("standalone")), (bulk("role"), bulk("master"))]);
    assert_eq!(hello(&said), Greeting { primary: Some(true), standalone: true });
    assert_eq!(hello(&array(vec![bulk("server"), bulk("redis")])), Greeting::default());
}
