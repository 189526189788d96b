//! Showing how the fleet is doing: a few lines that are redrawn on a terminal, one line for each change elsewhere.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use crate::cli::Progress;
use crate::output::{Style, shorten};

/// How many of the newest changes stay on the screen.
const RECENT: usize = 4;

/// How long the last lines may take to reach a terminal that is held.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ages are shown in seconds.
const TICK: Duration = Duration::from_secs(1);

/// Where lines go: a thread of its own, because a terminal that is held blocks whoever writes.
pub struct Screen {
    text: Option<Sender<String>>,
    writer: Option<std::thread::JoinHandle<()>>,
    live: bool,
    style: Style,
    /// How many lines the redrawn part has.
    drawn: usize,
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn new(progress: Progress) -> Self {
        let stdout = io::stdout();
        let live = match progress {
            Progress::Auto => stdout.is_terminal() && Style::of(&stdout) == Style::Colour,
            Progress::Live => true,
            Progress::Plain => false,
        };
        let (text, lines) = channel::<String>();
        let writer = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            let mut stdout = io::stdout();
            for text in lines {
                // Nobody looks any more: the fleet goes on.
                let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            }
        });
        Self { text: Some(text), writer: writer.ok(), live, style: Style::of(&stdout), drawn: 0 }
    }

    /// What it can show.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// Prints a line that stays.
    pub fn say(&mut self, line: &str) {
        let clear = self.clear();
        self.send(format!("{clear}{line}\n"));
    }

    fn draw(&mut self, lines: &[String]) {
        let mut text = self.clear();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        self.send(text);
    }

    /// Takes the redrawn part away, the cursor where it began.
    fn clear(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    fn send(&self, text: String) {
        if let Some(sender) = &self.text {
            // The writer ends only when this is dropped.
            let _ = sender.send(text);
        }
    }

    /// Waits until everything is written, but not for a terminal that is held.
    pub fn finish(mut self) {
        self.text = None;
        let Some(writer) = self.writer.take() else { return };
        let until = std::time::Instant::now() + FAREWELL;
        while !writer.is_finished() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn width() -> usize {
        rustix::termios::tcgetwinsize(io::stdout()).map_or(100, |size| usize::from(size.ws_col).max(40))
    }
}

/// Shows the board until `done`; calls `hints` for lines to print when the fleet is ready for the first time.
pub async fn show(
    mut screen: Screen,
    mut board: watch::Receiver<Board>,
    done: CancellationToken,
    hints: impl FnOnce() -> Vec<String> + Send + 'static,
) -> Screen {
    let mut hints = Some(hints);
    let mut known = Board::default();
    let mut recent: VecDeque<String> = VecDeque::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        let now = board.borrow_and_update().clone();
        let news = now.news(&known);
        if screen.live {
            recent.extend(news.iter().map(|text| format!("{} {text}", clock())));
            recent.drain(..recent.len().saturating_sub(RECENT));
        } else {
            news.iter().for_each(|line| screen.say(line));
        }
        if now.stopping && !known.stopping {
            screen.say("Stopping; once more to stop at once.");
        }
        if now.ready()
            && let Some(hints) = hints.take()
        {
            let lines = tokio::task::spawn_blocking(hints).await.unwrap_or_default();
            for line in lines {
                screen.say(&line);
            }
            screen.say(if screen.live { "" } else { "Ready." });
        }
        known = now;
        if screen.live {
            let lines = frame(&known, &recent, screen.style, Screen::width());
            screen.draw(&lines);
        }
        tokio::select! {
            changed = board.changed() => if changed.is_err() { break },
            _ = tick.tick(), if screen.live => {}
            () = done.cancelled() => break,
        }
    }
    screen
}

fn frame(board: &Board, recent: &VecDeque<String>, style: Style, width: usize) -> Vec<String> {
    let mut lines = board.live(SystemTime::now(), style, width);
    if !recent.is_empty() {
        lines.push(String::new());
        lines.extend(recent.iter().map(|line| style.dim(&format!("  {}", shorten(line, width.saturating_sub(3))))));
    }
    if !board.stopping {
        lines.push(String::new());
        lines.push(style.dim("  Ctrl-C stops"));
    }
    lines
}

fn clock() -> String {
    chrono::Local::now().format("%H:%M:%S").to_string()
}
