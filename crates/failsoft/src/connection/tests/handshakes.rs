//! First words, and servers that take them in their own way.

use super::*;

/// A command as it is sent.
fn said(words: &str) -> Vec<u8> {
    let words: Vec<_> = words.split(' ').collect();
    let each = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), each.collect::<String>()).into_bytes()
}

/// What the server is to hear, commands apart by `|`, and what it answers; nothing: it closes.
async fn play(listener: &TcpListener, scenes: &[(&str, &str)]) -> Option<TcpStream> {
    let (mut server, _) = listener.accept().await.unwrap();
    for (heard, answer) in scenes {
        expect(&mut server, &heard.split('|').flat_map(said).collect::<Vec<u8>>()).await;
        if answer.is_empty() {
            return None;
        }
        server.write_all(answer.as_bytes()).await.unwrap();
    }
    Some(server)
}

/// A read on a lane whose server plays these scenes, one connection after another, and then has the value.
async fn read_after(
    change: impl FnOnce(&mut LaneConfig),
    connections: &[&[(&str, &str)]],
) -> (Result<Reply, Failure>, Arc<Lane>) {
    let (listener, lane, clock) = lane(change).await;
    let pending = lane.get(b"k", false, far(&clock)).unwrap();
    let serve = async {
        for scenes in connections {
            if let Some(mut server) = play(&listener, scenes).await {
                let mut got = vec![0; get("k").len()];
                // The lane may have ended.
                if server.read_exact(&mut got).await.is_ok() {
                    assert_eq!(got, get("k"));
                    server.write_all(b"$1\r\nv\r\n").await.unwrap();
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = pending => (result, lane),
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_line_and_without_the_password() {
    let password = |c: &mut LaneConfig| c.password = Some("s3cret".to_owned());
    let first = ("HELLO 3 AUTH default s3cret", "-WRONGPASS not with `s3cret`\r\n");
    let (refused, _) = read_after(password, &[&[first]]).await;
    assert_eq!(refused, Err(Failure::Refused("WRONGPASS not with `***`".into())));
    // Of a server that has no HELLO: it still wants a password, and this is not it.
    let first = ("HELLO 3 AUTH default s3cret", "-NOAUTH Authentication required.\r\n");
    let then = ("AUTH s3cret|PING", "-ERR invalid password\r\n-NOAUTH Authentication required.\r\n");
    let (refused, _) = read_after(password, &[&[first, then]]).await;
    assert_eq!(refused, Err(Failure::Refused("ERR invalid password".into())));
}

#[tokio::test]
async fn whatever_a_server_says_against_hello_means_resp2() {
    for line in [
        "ERR unknown command `HELLO`, with args beginning with: `3`, ",
        "NOPROTO unsupported protocol version",
        "ERR Unknown or disabled command 'HELLO'",
        "unsupported command 'hello'",
        "ERR command is not allowed",
        "ERR wrong number of arguments for 'hello' command",
        "NOPERM this user has no permissions to run the 'hello' command",
    ] {
        let (value_read, lane) = read_after(|_| {}, &[&[("HELLO 3", &format!("-{line}\r\n"))]]).await;
        assert_eq!(value_read, value("v"), "{line}");
        assert_eq!(lane.greeted().map(|g| g.refused.clone()), Some(vec!["HELLO"]), "{line}");
    }
    // All of it again in RESP2, where authentication, name and role have to be said, too.
    let all = |c: &mut LaneConfig| {
        (c.password, c.client_name, c.readonly) = (Some("p".to_owned()), Some("me".to_owned()), true);
        c.node_id = Some("id".into());
    };
    let first = "HELLO 3 AUTH default p SETNAME me|READONLY|CLUSTER MYID";
    let no = "-ERR unknown command\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n";
    let again = "AUTH p|PING|CLIENT SETNAME me|READONLY|CLUSTER MYID";
    let yes = "+OK\r\n+PONG\r\n+OK\r\n+OK\r\n$2\r\nid\r\n";
    let (value_read, _) = read_after(all, &[&[(first, no), (again, yes)]]).await;
    assert_eq!(value_read, value("v"));
}

#[tokio::test]
async fn nobody_is_let_in_now_is_no_word_against_hello() {
    for line in [
        "ERR max number of clients reached",
        "LOADING Redis is loading the dataset in memory",
        "NOAUTH HELLO must be called with the client already authenticated",
    ] {
        let (refused, _) = read_after(|_| {}, &[&[("HELLO 3", &format!("-{line}\r\n"))]]).await;
        assert_eq!(refused, Err(Failure::Refused(line.into())));
    }
}

#[tokio::test]
async fn a_server_that_cannot_say_now_who_it_is_is_asked_again_by_the_next_connection() {
    let meant = |c: &mut LaneConfig| c.node_id = Some("id".into());
    let line = "LOADING Redis is loading the dataset in memory";
    let loading = &format!("%1\r\n$5\r\nproto\r\n:3\r\n-{line}\r\n");
    let (refused, _) = read_after(meant, &[&[("HELLO 3|CLUSTER MYID", loading)]]).await;
    assert_eq!(refused, Err(Failure::Refused(line.into())));
    let unknown = "%1\r\n$5\r\nproto\r\n:3\r\n-ERR unknown subcommand\r\n";
    let nodes = ("CLUSTER NODES", &*format!("-{line}\r\n"));
    let (refused, _) = read_after(meant, &[&[("HELLO 3|CLUSTER MYID", unknown), nodes]]).await;
    assert_eq!(refused, Err(Failure::Refused(line.into())));
}

#[tokio::test]
async fn a_connection_closed_at_hello_is_tried_once_without() {
    let named = |c: &mut LaneConfig| c.client_name = Some("me".to_owned());
    let hello = &[("HELLO 3 SETNAME me", "")][..];
    let (value_read, _) = read_after(named, &[hello, &[("CLIENT SETNAME me", "+OK\r\n")]]).await;
    assert_eq!(value_read, value("v"));
    let (lost, _) = read_after(named, &[hello, &[("CLIENT SETNAME me", "")]]).await;
    assert!(matches!(lost, Err(Failure::Lost(_))), "{lost:?}");
}

#[tokio::test]
async fn a_server_without_a_password_yet_lets_in_whoever_has_one() {
    let password = |c: &mut LaneConfig| c.password = Some("p".to_owned());
    for line in [
        "ERR Client sent AUTH, but no password is set",
        "ERR AUTH <password> called without any password configured for the default user.",
    ] {
        let first = ("HELLO 3 AUTH default p", "-ERR unknown command\r\n");
        let then = format!("-{line}\r\n+PONG\r\n");
        let (value_read, lane) = read_after(password, &[&[first, ("AUTH p|PING", &then)]]).await;
        assert_eq!(value_read, value("v"), "{line}");
        assert_eq!(lane.greeted().map(|g| g.refused.clone()), Some(vec!["HELLO", "AUTH"]));
    }
}

#[tokio::test]
async fn a_stranger_gets_no_request() {
    let meant = |c: &mut LaneConfig| c.node_id = Some("ours".into());
    let asked = "HELLO 3|CLUSTER MYID";
    let hello = std::str::from_utf8(HELLO_OK).unwrap();
    for (says, whoever) in [("$4\r\nours\r\n", value("v")), ("+ours\r\n", value("v"))] {
        let (value_read, _) = read_after(meant, &[&[(asked, &format!("{hello}{says}"))]]).await;
        assert_eq!(value_read, whoever, "{says}");
    }
    let (other, _) = read_after(meant, &[&[(asked, &format!("{hello}$5\r\nother\r\n"))]]).await;
    assert_eq!(other, Err(Failure::Stranger("other".into())));
    let no_cluster = format!("{hello}-ERR This instance has cluster support disabled\r\n");
    let (other, _) = read_after(meant, &[&[(asked, &no_cluster)]]).await;
    assert_eq!(other, Err(Failure::Stranger("a server without cluster mode".into())));
    // One that does not say who it is, is taken for the one that is meant, and known for it.
    let unknown = format!("{hello}-ERR unknown subcommand\r\n");
    let (value_read, lane) = read_after(meant, &[&[(asked, &unknown), ("CLUSTER NODES", "-NOPERM no\r\n")]]).await;
    assert_eq!(value_read, value("v"));
    assert_eq!(lane.greeted().map(|g| g.refused.clone()), Some(vec!["CLUSTER MYID"]));
}

#[tokio::test]
async fn a_server_without_myid_says_who_it_is_in_its_own_line() {
    let meant = |c: &mut LaneConfig| c.node_id = Some("ours".into());
    let asked = format!("{}-ERR unknown subcommand\r\n", std::str::from_utf8(HELLO_OK).unwrap());
    let line = |id: &str, flags: &str| format!("{id} 10.0.0.1:7000@17000 {flags} - 0 0 3 connected 0-9\n");
    let bulk = |text: String| format!("${}\r\n{text}\r\n", text.len());
    let verbatim = |text: String| format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    for said in [
        bulk(line("other", "master") + &line("ours", "myself,slave")),
        verbatim(line("ours", "master,myself") + &line("other", "slave")),
        // It does not say which of them it is.
        bulk(line("other", "master") + "\n"),
    ] {
        let scenes: &[(&str, &str)] = &[("HELLO 3|CLUSTER MYID", &asked), ("CLUSTER NODES", &said)];
        let (value_read, lane) = read_after(meant, &[scenes]).await;
        assert_eq!(value_read, value("v"), "{said}");
        assert_eq!(lane.greeted().map(|g| g.refused.clone()), Some(vec!["CLUSTER MYID"]));
    }
    let said = verbatim(line("other", "myself,master") + &line("ours", "slave"));
    let scenes: &[(&str, &str)] = &[("HELLO 3|CLUSTER MYID", &asked), ("CLUSTER NODES", &said)];
    let (other, _) = read_after(meant, &[scenes]).await;
    assert_eq!(other, Err(Failure::Stranger("other".into())));
}

#[tokio::test]
async fn who_is_meant_may_be_known_only_when_the_lane_is_open() {
    let myid = said("CLUSTER MYID");
    for (answer, ends) in [
        ("$4\r\nours\r\n", None),
        ("$5\r\nother\r\n", Some(Failure::Stranger("other".into()))),
        (
            "-ERR This instance has cluster support disabled\r\n",
            Some(Failure::Stranger("a server without cluster mode".into())),
        ),
        // The next one asks in other ways, before anything else is asked of it.
        ("-ERR unknown subcommand\r\n", Some(Failure::Closed)),
    ] {
        let (mut server, lane, clock) = open_lane(|_| {}).await;
        assert!(!lane.knows_who_answers());
        let attempt = far(&clock);
        let ((), ended) = tokio::join!(
            async {
                expect(&mut server, &myid).await;
                server.write_all(answer.as_bytes()).await.unwrap();
            },
            lane.identify("ours", attempt),
        );
        assert_eq!((ended.clone(), lane.knows_who_answers()), (ends.clone(), ends.is_none()), "{answer}");
        assert_eq!(lane.state(), ends.map_or(Phase::Open, Phase::Ended));
    }
}
