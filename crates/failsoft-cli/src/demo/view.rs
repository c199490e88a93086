//! Shows the demo while it runs: a picture on a terminal, else lines.

use super::{
    board::Board,
    lines,
    picture::{Picture, Stage},
};
use crate::{
    failure::Failure,
    output::{self, say},
};
use std::{
    env,
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(200);
/// How often plain lines say how it goes.
const PROGRESS: Duration = Duration::from_secs(5);

/// Where it is shown.
pub(super) enum View {
    Picture(Box<Picture>),
    /// Lines on standard output, or on standard error where standard output is for JSON.
    Lines {
        to_stderr: bool,
        last: Instant,
    },
}

impl View {
    pub(super) fn new(json: bool, nodes: usize) -> Self {
        let can_draw = io::stdout().is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb");
        // A terminal that does not say where its cursor is gets lines.
        match (!json && can_draw).then(|| Picture::new(nodes)) {
            Some(Ok(picture)) => Self::Picture(Box::new(picture)),
            Some(Err(_)) | None => Self::Lines { to_stderr: json, last: Instant::now() },
        }
    }

    /// Shows it until the future is dropped.
    pub(super) async fn show(&mut self, stage: &Stage<'_>) -> Result<(), Failure> {
        let mut frames = tokio::time::interval(FRAME);
        loop {
            frames.tick().await;
            self.update(stage)?;
        }
    }

    /// Shows how it stands now.
    pub(super) fn update(&mut self, stage: &Stage<'_>) -> Result<(), Failure> {
        let news = lines::news(stage.board);
        match self {
            Self::Picture(picture) => picture.draw(stage, &news)?,
            Self::Lines { to_stderr, last } => {
                if !news.is_empty() {
                    *last = Instant::now();
                }
                for text in &news {
                    print(text, *to_stderr)?;
                }
                if last.elapsed() >= PROGRESS {
                    *last = Instant::now();
                    if let Some(text) = lines::progress(stage.board) {
                        print(&text, *to_stderr)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The last look, after which the terminal is as it was.
    pub(super) fn end(mut self, board: &Board) -> Result<(), Failure> {
        let rest = lines::news(board);
        match &mut self {
            Self::Picture(picture) => picture.write_above(&rest)?,
            Self::Lines { to_stderr, .. } => {
                for text in &rest {
                    print(text, *to_stderr)?;
                }
            }
        }
        Ok(())
    }
}

/// Says something outside of the picture.
pub(super) fn print(text: &str, to_stderr: bool) -> Result<(), Failure> {
    if to_stderr {
        say!("{text}");
        return Ok(());
    }
    output::line(text)
}
