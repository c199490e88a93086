//! The live picture: progress, the fault that is on, sources as bars, nodes.

use super::board::{Board, Phase, SOURCES, Tally, total};
use crate::output::thousands;
use failsoft::{Health, Router, ServedBy};
use failsoft_testkit::{Cluster, Node};
use ratatui::{
    Frame, Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::{Cell, LineGauge, Paragraph, Row, Table, Widget as _, Wrap},
};
use std::{
    collections::VecDeque,
    io::{self, Stdout},
    time::{Duration, Instant},
};

/// Lines above the nodes: title, gauge, two for the fault, totals, an empty one, headings.
const LINES_ABOVE: usize = 7;
/// The most nodes that are shown.
const MAX_NODES: usize = 12;
/// The width of the nodes' columns and the spaces between them.
const NODE_COLUMNS: [u16; 5] = [16, 7, 8, 7, 11];
const NODES_WIDTH: u16 = 54;
/// How wide the sources may be: as much as is left, for a bar that can be seen and one that is no wall.
const SOURCES_WIDTH: (u16, u16) = (28, 60);
/// How far the rest of a long line is moved in.
const INDENT: usize = 10;
/// What stands beside a bar.
const BESIDE_BAR: u16 = 22;
/// The time over which reads per second are counted.
const RATE_OVER: Duration = Duration::from_secs(1);

/// What is shown.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) router: &'a Router,
    pub(super) board: &'a Board,
    /// One line: the server, and what the cluster looks like.
    pub(super) title: &'a str,
    pub(super) loads: &'a (dyn Fn() -> u64 + Sync),
}

/// A few lines at the bottom of the terminal. Dropping it takes them away.
pub(super) struct Picture {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// Counts of a moment ago, for the rates.
    past: VecDeque<(Instant, [u64; SOURCES])>,
}

impl Picture {
    /// # Errors
    /// When the terminal cannot be drawn on.
    pub(super) fn new(nodes: usize) -> io::Result<Self> {
        let height = LINES_ABOVE + nodes.clamp(SOURCES, MAX_NODES);
        let viewport = Viewport::Inline(u16::try_from(height).unwrap_or(u16::MAX));
        let backend = CrosstermBackend::new(io::stdout());
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        terminal.hide_cursor()?;
        Ok(Self { terminal, past: VecDeque::new() })
    }

    /// Draws how it stands, with these lines above.
    pub(super) fn draw(&mut self, stage: &Stage<'_>, above: &[String]) -> io::Result<()> {
        self.write_above(above)?;
        let (phases, health) = (stage.board.phases(), stage.router.health());
        let Some(phase) = phases.last() else { return Ok(()) };
        let total = total(&phases);
        let rates = self.rates(total.served);
        self.terminal
            .draw(|frame| draw(frame, stage, &Now { phases: &phases, phase, total: &total, rates, health: &health }))?;
        Ok(())
    }

    /// Lines that stay, above the picture.
    pub(super) fn write_above(&mut self, lines: &[String]) -> io::Result<()> {
        let width = usize::from(self.terminal.size()?.width).max(1);
        for line in lines {
            for part in wrapped(line, width) {
                self.terminal.insert_before(1, |buffer| Paragraph::new(part).render(buffer.area, buffer))?;
            }
        }
        Ok(())
    }

    fn rates(&mut self, served: [u64; SOURCES]) -> [f64; SOURCES] {
        let now = Instant::now();
        self.past.push_back((now, served));
        while self.past.len() > 2 && now.duration_since(self.past[1].0) >= RATE_OVER {
            self.past.pop_front();
        }
        let (then, before) = self.past[0];
        let seconds = now.duration_since(then).as_secs_f64();
        std::array::from_fn(|i| if seconds > 0.0 { (served[i] - before[i]) as f64 / seconds } else { 0.0 })
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        // A terminal that is gone needs no tidying.
        let _ = self.terminal.clear();
        // What is said next stands where the picture was.
        let top = self.terminal.get_frame().area().as_position();
        let _ = self.terminal.set_cursor_position(top);
        let _ = self.terminal.show_cursor();
    }
}

struct Now<'a> {
    phases: &'a [Phase],
    phase: &'a Phase,
    total: &'a Tally,
    rates: [f64; SOURCES],
    health: &'a Health,
}

fn draw(frame: &mut Frame<'_>, stage: &Stage<'_>, now: &Now<'_>) {
    let one = Constraint::Length(1);
    let [title, gauge, fault, totals, _, below] =
        Layout::vertical([one, one, Constraint::Length(2), one, one, Constraint::Min(0)]).areas(frame.area());
    frame.render_widget(Line::from(vec![" Failsoft ".bold().reversed(), " ".into(), stage.title.into()]), title);
    frame.render_widget(progress(stage.board, now), gauge);
    let on = if now.phase.fault.starts_with("none") { Color::Green } else { Color::Red };
    let words = vec![" fault  ".dim(), Span::styled(now.phase.fault.as_str(), Style::new().fg(on))];
    frame.render_widget(Paragraph::new(Line::from(words)).wrap(Wrap { trim: false }), fault);
    frame.render_widget(sums(now.total, (stage.loads)()), totals);
    let (least, most) = SOURCES_WIDTH;
    let width = below.width.saturating_sub(NODES_WIDTH).clamp(least, most);
    let [left, right] = Layout::horizontal([Constraint::Length(width), Constraint::Min(0)]).areas(below);
    sources(frame, left, now.rates);
    nodes(frame, right, stage.cluster.nodes(), now.health);
}

/// The line in parts that fit: a line above the picture is cut off where the terminal ends.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = parts.last_mut().expect("it begins with one part");
        if last.trim().is_empty() || last.chars().count() + word.trim_end().chars().count() <= width {
            last.push_str(word);
        } else {
            parts.push(format!("{}{word}", " ".repeat(INDENT)));
        }
    }
    parts
}

fn progress<'a>(board: &Board, now: &Now<'a>) -> LineGauge<'a> {
    let (past, share) = (&now.phases[..now.phases.len() - 1], now.phase.share);
    let done: Duration = past.iter().map(|phase| phase.share).sum();
    let done = done + now.phase.began.elapsed().min(share);
    let ratio = (done.as_secs_f64() / board.planned.as_secs_f64()).clamp(0.0, 1.0);
    let label = format!(" {:5.1} s  {:<16}", board.began.elapsed().as_secs_f64(), now.phase.name);
    LineGauge::default()
        .ratio(ratio)
        .label(label)
        .filled_symbol("█")
        .unfilled_symbol("░")
        .filled_style(Color::Cyan)
        .unfilled_style(Color::DarkGray)
}

fn sums(total: &Tally, loads: u64) -> Line<'static> {
    let failed = thousands(total.failed);
    let failed = if total.failed == 0 { failed.green().bold() } else { failed.red().bold() };
    Line::from(vec![
        " reads  ".dim(),
        thousands(total.reads).bold(),
        "   failed ".dim(),
        failed,
        "   worst ".dim(),
        format!("{:.1} ms", total.latency.max_ms()).into(),
        "   p99 ".dim(),
        format!("{:.1} ms", total.latency.quantile_ms(0.99)).into(),
        "   loads ".dim(),
        thousands(loads).into(),
    ])
}

fn sources(frame: &mut Frame<'_>, area: Rect, rates: [f64; SOURCES]) {
    let longest = f64::from(area.width.saturating_sub(BESIDE_BAR));
    let most = rates.iter().copied().fold(1.0, f64::max);
    let mut lines = vec![Line::from(" served by, reads a second".dim())];
    for (source, rate) in ServedBy::ALL.iter().zip(rates) {
        // A source that serves at all shows at least a little.
        let length = if rate > 0.0 { ((rate / most * longest) as usize).max(1) } else { 0 };
        lines.push(Line::from(vec![
            format!(" {:<10}", source.as_str()).into(),
            Span::styled("█".repeat(length), Style::new().fg(color(*source))),
            format!(" {}", thousands(rate as u64)).into(),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn color(source: ServedBy) -> Color {
    match source {
        ServedBy::Near => Color::Blue,
        ServedBy::Primary => Color::Green,
        ServedBy::Replica => Color::Yellow,
        ServedBy::Secondary => Color::Magenta,
        ServedBy::Stale => Color::Cyan,
        ServedBy::None => Color::Gray,
    }
}

fn nodes(frame: &mut Frame<'_>, area: Rect, nodes: &[Node], health: &Health) {
    let rows = nodes.iter().take(MAX_NODES).map(|node| {
        let (state, style) = match (node.pid().is_some(), node.is_running()) {
            (false, _) => ("killed", Style::new().fg(Color::Red)),
            (true, false) => ("hung", Style::new().fg(Color::Red)),
            (true, true) => ("up", Style::new().fg(Color::Green)),
        };
        let known = health.node(&node.address());
        let breaker = known.map_or("-", |known| known.breaker);
        let warn = if breaker == "closed" { Style::new() } else { Style::new().fg(Color::Yellow) };
        Row::new([
            Cell::from(node.address()),
            Cell::from(state).style(style),
            Cell::from(known.map_or("-", |known| known.role)),
            Cell::from(known.map_or_else(String::new, |known| thousands(known.slots as u64))),
            Cell::from(breaker).style(warn),
        ])
    });
    let widths = NODE_COLUMNS.map(Constraint::Length);
    let header = Row::new(["node", "process", "role", "slots", "breaker"]).dim();
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrapped("   0.0 s  steady", 20), ["   0.0 s  steady"]);
        assert_eq!(wrapped("   0.0 s  primary killed", 20), ["   0.0 s  primary ", "          killed"]);
        assert_eq!(wrapped("", 20), [""]);
        assert_eq!(wrapped("unbreakable", 3), ["unbreakable"], "what does not fit at all is cut off");
    }
}
