//! prints
fn main() {
    use failsoft_growth::{fleet::*, world::*};
    if std::env::args().nth(1).as_deref() == Some("measure") {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for n in [3, 100, 1000] {
            for (q, c) in rt
                .block_on(failsoft_growth::measure::measure(&failsoft_testkit::Server::find(None).unwrap(), n))
                .unwrap()
            {
                println!("{n} {} {:.1} us {:.0} bytes", q.name(), c.micros, c.bytes);
            }
        }
        return;
    }
    for (p, r, s) in [(3, 100, 32), (3, 10000, 32), (100, 1000, 16), (1000, 10000, 8)] {
        for f in [
            Fault::None,
            Fault::Lost { primaries: 1, refused: true },
            Fault::Lost { primaries: 1, refused: false },
            Fault::Lost { primaries: p / 10, refused: false },
        ] {
            let t = std::time::Instant::now();
            let l = load(Fleet { routers: r, sample: s }, p, f);
            println!(
                "{p} {r} {f:?} probes {:.1} views {:.2} bytes {:.0} mean {:.2}% worst {:.2}% hottest {:.1}% ({:?})",
                l.probes,
                l.views,
                l.bytes,
                l.mean * 100.,
                l.worst * 100.,
                l.hottest * 100.,
                t.elapsed()
            );
        }
    }
}
