//! `make simulate`.
fn main() {
    let mut args = std::env::args().skip(1);
    let seeds: u64 = args.next().map_or(1000, |s| s.parse().expect("a number"));
    let start: u64 = args.next().map_or(0, |s| s.parse().expect("a number"));
    if args.next().is_some() {
        for l in failsoft_simulator::trace(start) {
            println!("{l}");
        }
        println!("{:?}", failsoft_simulator::run(start).problem);
        return;
    }
    let t = std::time::Instant::now();
    let (mut failed, mut events, mut reads, mut time, mut whole, mut promo) = (0, 0, 0, 0, 0, 0);
    let mut kinds: std::collections::BTreeMap<String, (u32, u64)> = Default::default();
    for seed in start..start + seeds {
        let ran = failsoft_simulator::run(seed);
        events += ran.events;
        reads += ran.reads;
        time += ran.time;
        whole += u32::from(ran.whole);
        promo += ran.promotions;
        if let Some(p) = ran.problem {
            failed += 1;
            let k: String = p.chars().filter(|c| !c.is_ascii_digit()).take(90).collect();
            let e = kinds.entry(k).or_insert((0, seed));
            e.0 += 1;
        }
    }
    for (k, (n, s)) in kinds {
        println!("{n:6} first {s:6}: {k}");
    }
    println!(
        "{seeds} seeds, {events} events, {reads} reads, {whole} whole, {promo} promotions, virtual {} s, real {:?}, {failed} failed",
        time / 1_000_000_000,
        t.elapsed()
    );
}
