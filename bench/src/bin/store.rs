//! What callers see of a store that slows down while the cluster is away: a table, and with `--plot FILE` a picture (SVG).
//!
//! A thousand reads a second begin, whatever became of those before. The store takes 2 ms, then 500 ms, then 2 ms again.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use clap::Parser;
use failsoft::{Bytes, Error, Reason, Router, ServedBy};
use hdrhistogram::Histogram;
use plotters::prelude::*;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Reads that begin in a second; keys that they are of.
const RATE: u64 = 1_000;
const KEYS: u64 = 1_000;
const FAST: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(500);
/// When the store becomes slow, when fast again, and when it is over, in seconds.
const SLOWS: f64 = 5.0;
const RECOVERS: f64 = 25.0;
const ENDS: f64 = 60.0;
/// What is summed up, in seconds.
const STEP: f64 = 0.25;
const STEPS: usize = (ENDS / STEP) as usize;

#[derive(Parser)]
struct Arguments {
    /// Where the picture goes.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// What became of the reads that ended in one step.
#[derive(Clone)]
struct Seen {
    loaded: u64,
    stale: u64,
    shed: u64,
    failed: u64,
    /// The most callbacks that ran.
    running: u64,
    /// Microseconds, of those without a callback.
    spared: Histogram<u64>,
}

impl Seen {
    fn new() -> Self {
        let spared = Histogram::new(2).expect("two digits");
        Self { loaded: 0, stale: 0, shed: 0, failed: 0, running: 0, spared }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let router = Router::builder(["127.0.0.1:1"]).build().expect("settings");
    let steps = Arc::new(Mutex::new(vec![Seen::new(); STEPS]));
    let (running, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut reads = Vec::new();
    let mut next = 0;
    while began.elapsed().as_secs_f64() < ENDS {
        tick.tick().await;
        // What the clock is behind is made up for: the callers do not wait for each other.
        while next < (began.elapsed().as_secs_f64() * RATE as f64) as u64 {
            let (router, steps) = (router.clone(), Arc::clone(&steps));
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let key = format!("key:{}", next % KEYS);
            reads.push(tokio::spawn(async move {
                let asked = Instant::now();
                let load = move |_: Bytes, _: Reason| async move {
                    let slow = (SLOWS..RECOVERS).contains(&began.elapsed().as_secs_f64());
                    most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
                    let now = running.load(Relaxed);
                    let place = ((began.elapsed().as_secs_f64() / STEP) as usize).min(STEPS - 1);
                    note_running(&steps, place, now);
                    tokio::time::sleep(if slow { SLOW } else { FAST }).await;
                    running.fetch_sub(1, Relaxed);
                    Ok::<_, Infallible>(Some(Bytes::from_static(b"loaded")))
                };
                let outcome = router.resolve(&key).fallback(load).await;
                (began.elapsed().as_secs_f64(), asked.elapsed(), outcome.map(|outcome| outcome.served_by))
            }));
            next += 1;
        }
    }
    for read in reads {
        let (ended, took, outcome) = read.await.expect("no panic");
        let place = ((ended / STEP) as usize).min(STEPS - 1);
        let seen = &mut steps_of(&steps)[place];
        let micros = took.as_micros() as u64;
        match outcome {
            Ok(ServedBy::Stale) => {
                seen.stale += 1;
                seen.spared.saturating_record(micros);
            }
            Ok(_) => seen.loaded += 1,
            Err(Error::Shed { .. }) => {
                seen.shed += 1;
                seen.spared.saturating_record(micros);
            }
            Err(_) => seen.failed += 1,
        }
    }
    let steps = steps_of(&steps).clone();
    report(&steps, most.load(Relaxed));
    if let Some(path) = arguments.plot {
        plot(&steps, &path).expect("a picture");
        println!("\n{}", path.display());
    }
}

fn note_running(steps: &Mutex<Vec<Seen>>, place: usize, now: u64) {
    let running = &mut steps_of(steps)[place].running;
    *running = now.max(*running);
}

fn steps_of(steps: &Mutex<Vec<Seen>>) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(steps: &[Seen], most: u64) {
    println!("{RATE} reads a second; the store takes {FAST:?}, from {SLOWS} s {SLOW:?}, from {RECOVERS} s {FAST:?}");
    println!(
        "{:>12} {:>8} {:>8} {:>8} {:>8} {:>18}",
        "seconds", "loaded", "stale", "shed", "failed", "p99 of those spared"
    );
    for (from, to) in [
        (0.0, SLOWS),
        (SLOWS, SLOWS + 5.0),
        (SLOWS + 5.0, RECOVERS),
        (RECOVERS, RECOVERS + 5.0),
        (RECOVERS + 5.0, ENDS),
    ] {
        let part = &steps[(from / STEP) as usize..(to / STEP) as usize];
        let sum = |of: fn(&Seen) -> u64| part.iter().map(of).sum::<u64>();
        let mut spared = Histogram::<u64>::new(2).expect("two digits");
        part.iter().for_each(|seen| spared.add(&seen.spared).expect("the same range"));
        println!(
            "{:>12} {:>8} {:>8} {:>8} {:>8} {:>15.1} ms",
            format!("{from} to {to}"),
            sum(|s| s.loaded),
            sum(|s| s.stale),
            sum(|s| s.shed),
            sum(|s| s.failed),
            spared.value_at_quantile(0.99) as f64 / 1_000.0
        );
    }
    println!("the most callbacks at a time: {most}");
}

/// Callbacks that run, and what becomes of reads, over time.
fn plot(steps: &[Seen], path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let (upper, lower) = area.split_vertically(360);
    let per_second = |count: u64| count as f64 / STEP;
    let time = |n: usize| n as f64 * STEP;
    let top = steps.iter().map(|s| per_second(s.loaded + s.stale + s.shed)).fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(&upper)
        .caption("reads a second, by what became of them", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..ENDS, 0.0..top)?;
    chart.configure_mesh().x_labels(13).y_labels(6).light_line_style(TRANSPARENT).draw()?;
    let lines = [("loaded", RGBColor(0, 120, 60)), ("stale", RGBColor(0, 90, 200)), ("shed", RGBColor(200, 40, 40))];
    for (line, (name, color)) in lines.into_iter().enumerate() {
        let points = steps.iter().enumerate().map(|(n, seen)| {
            let of = [seen.loaded, seen.stale, seen.shed];
            (time(n), per_second(of[line]))
        });
        let series = chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
        series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    let most = steps.iter().map(|s| s.running).max().unwrap_or(0) as f64;
    let mut chart = ChartBuilder::on(&lower)
        .caption("callbacks that run at a time", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..ENDS, 0.0..most * 1.1)?;
    chart.configure_mesh().x_labels(13).y_labels(4).x_desc("seconds").light_line_style(TRANSPARENT).draw()?;
    let points = steps.iter().enumerate().map(|(n, seen)| (time(n), seen.running as f64));
    chart.draw_series(LineSeries::new(points, BLACK.stroke_width(2)))?;
    area.present()?;
    Ok(())
}
