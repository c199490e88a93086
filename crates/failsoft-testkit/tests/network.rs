//! Hosts of their own: what arrives, what does not, and that nothing is left behind.
//!
//! All in the module `hosts`: where namespaces cannot be had these tests fail, unless they are left out by name.

#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod common;

mod hosts {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
        path::Path,
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    };

    use super::common::{LONG, server};
    use failsoft_testkit::{Cluster, Network};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Set for the process that is to be killed.
    const TO_BE_KILLED: &str = "FAILSOFT_TESTKIT_NETWORK_TO_BE_KILLED";
    const MARK: &str = "namespace:";
    /// Longer than packets take that arrive.
    const QUIET: Duration = Duration::from_millis(300);

    /// A program on host 1 that says everything back, and where it listens.
    struct Echo(Child);

    impl Echo {
        fn start(network: &Network) -> (Echo, SocketAddr) {
            let words = network.words(1).unwrap();
            let script = "import socket, threading\n\
                          s = socket.socket(); s.bind((ADDRESS, 0)); s.listen(); print(s.getsockname()[1], flush=True)\n\
                          def echo(c):\n  while d := c.recv(100): c.sendall(d)\n\
                          while True: threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()\n";
            let script = script.replace("ADDRESS", &format!("{:?}", network.address(1).to_string()));
            let mut command = Command::new(&words[0]);
            let with_script = command.args(&words[1..]).args(["python3", "-c", &script]);
            let mut child = with_script.stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            (Echo(child), SocketAddr::from((network.address(1), line.trim().parse().unwrap())))
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A connection of host 0.
    async fn connect(network: &Network, to: SocketAddr) -> (failsoft_testkit::Inside, tokio::net::TcpStream) {
        let inside = network.inside(0).unwrap();
        let connected = inside.handle().spawn(async move { tokio::net::TcpStream::connect(to).await }).await;
        let stream = connected.unwrap().unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), network.address(0));
        (inside, stream)
    }

    /// Whether what is said comes back.
    async fn echoes(stream: &mut tokio::net::TcpStream, limit: Duration) -> bool {
        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        tokio::time::timeout(limit, stream.read_exact(&mut byte)).await.is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_cut_is_silent_and_healing_brings_all_of_it() {
        let network = Network::start(2).unwrap();
        let (_echo, to) = Echo::start(&network);
        let (_inside, mut stream) = connect(&network, to).await;
        assert!(echoes(&mut stream, LONG).await);
        for cut in [Network::cut, Network::cut_one_way] {
            cut(&network, &[1], &[0]).unwrap();
            assert!(!echoes(&mut stream, QUIET).await);
            // We are on neither side.
            let mut ours = TcpStream::connect(to).unwrap();
            ours.write_all(b"y").unwrap();
            assert_eq!(ours.read(&mut [0]).unwrap(), 1);
            network.heal().unwrap();
            // What was sent meanwhile was lost and is sent again.
            let mut byte = [0];
            tokio::time::timeout(LONG, stream.read_exact(&mut byte)).await.unwrap().unwrap();
            assert!(echoes(&mut stream, LONG).await);
        }
    }

    #[tokio::test]
    async fn a_silenced_connection_stays_so_and_new_ones_work() {
        let network = Network::start(2).unwrap();
        let (_echo, to) = Echo::start(&network);
        let (_inside, mut old) = connect(&network, to).await;
        assert!(echoes(&mut old, LONG).await);
        network.silence(0, 1).unwrap();
        assert!(!echoes(&mut old, QUIET).await);
        let (_inside, mut new) = connect(&network, to).await;
        assert!(echoes(&mut new, LONG).await);
        assert!(!echoes(&mut old, QUIET).await);
    }

    #[tokio::test]
    async fn what_is_lost_by_chance_is_sent_again() {
        let network = Network::start(2).unwrap();
        let (_echo, to) = Echo::start(&network);
        let (_inside, mut stream) = connect(&network, to).await;
        // So few that a byte whose pauses double each time gets through in time: with 30 of a hundred, one run in six has
        // a byte that does not.
        network.lose(&[0], &[1], 10).unwrap();
        for _ in 0..20 {
            assert!(echoes(&mut stream, LONG).await);
        }
    }

    #[test]
    fn the_hosts_are_apart_from_this_machine_and_from_each_other() {
        let network = Network::start(2).unwrap();
        let (one, other) = (network.address(0), network.address(1));
        assert!(one != other && !one.is_loopback());
        // Nobody here has their addresses.
        assert!(TcpListener::bind((one, 0)).is_err());
        let second = Network::start(2).unwrap();
        assert!([second.address(0), second.address(1)].iter().all(|address| ![one, other].contains(address)));
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(Network::start(0).is_err() && Network::start(14).is_err());
        let network = Network::start(1).unwrap();
        for error in [
            network.cut(&[0], &[1]).unwrap_err(),
            network.lose(&[0], &[0], 0).unwrap_err(),
            network.lose(&[0], &[0], 101).unwrap_err(),
            network.silence(0, 7).unwrap_err(),
            network.words(1).unwrap_err(),
            network.inside(1).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, failsoft_testkit::Error::Config(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_cluster_lives_on_hosts_and_a_minority_is_left_behind() {
        let builder = Cluster::builder().server(&server()).node_timeout(Duration::from_millis(500)).hosts(1);
        let cluster = builder.start().await.unwrap();
        let network = cluster.network().unwrap();
        let mut ips: Vec<Ipv4Addr> = (0..6).map(|node| network.address(node)).collect();
        assert!(cluster.addresses().iter().zip(&ips).all(|(node, ip)| node.starts_with(&format!("{ip}:"))));
        ips.dedup();
        assert_eq!((ips.len(), network.hosts(), cluster.client_host(0)), (6, 7, 6));
        network.cut(&[0], &[1, 2, 3, 4, 5]).unwrap();
        cluster.wait_promoted(3, LONG).await.unwrap();
        // Both call themselves primaries now; that is what this is for.
        assert_eq!(cluster.role(0).await.unwrap(), failsoft_testkit::Role::Primary);
        network.heal().unwrap();
        cluster.wait_until_ok().await.unwrap();
        assert_eq!(cluster.owner_of(0).await.unwrap(), 3);
        assert!(cluster.keep().is_err());
    }

    #[test]
    fn dropping_a_network_removes_it() {
        let network = Network::start(2).unwrap();
        let name = network.words(0).unwrap().pop().unwrap();
        assert!(there(&name));
        drop(network);
        assert!(!there(&name));
    }

    #[test]
    fn killing_the_process_removes_its_network() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hosts::starts_a_network_and_waits", "--nocapture"])
            .env(TO_BE_KILLED, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let name = lines.map(Result::unwrap).find_map(|line| Some(line.split_once(MARK)?.1.to_owned())).unwrap();
        assert!(there(&name));
        child.kill().unwrap();
        child.wait().unwrap();
        let deadline = Instant::now() + LONG;
        while there(&name) {
            assert!(Instant::now() < deadline, "still there: {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process that the test above starts and kills; in any other it has nothing to do.
    #[test]
    #[expect(clippy::print_stdout, reason = "its parent reads it")]
    fn starts_a_network_and_waits() {
        if std::env::var_os(TO_BE_KILLED).is_none() {
            return;
        }
        let network = Network::start(2).unwrap();
        println!("{MARK}{}", network.words(1).unwrap().pop().unwrap());
        // Bounded, should nobody kill it.
        std::thread::sleep(LONG);
    }

    #[test]
    fn what_a_dead_process_left_is_removed() {
        // No process has this number: it is above what any Linux gives out.
        let name = "failsoft-4194305-0-1";
        let added = Command::new("ip").args(["netns", "add", name]).status().unwrap();
        // Another test that starts a network may have removed it already.
        assert!(added.success());
        drop(Network::start(1).unwrap());
        assert!(!there(name));
    }

    fn there(namespace: &str) -> bool {
        Path::new("/var/run/netns").join(namespace).exists()
    }
}
