//! Progress bars on stderr: the only user of indicatif.
//!
//! Bars are hidden where stderr is no terminal, with `--quiet` and with `--json`;
//! `ICWASI_PROGRESS=always` shows them anyway, `never` hides them.

use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;

use icwasi_cli::transfer::{FileProgress, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::printer::safe;

/// All bars of the process, so that other lines can be written between them.
static BARS: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));

/// Writes a line to stderr without disturbing the bars. That stderr is closed is no failure.
pub fn stderr_line(text: &str) {
    BARS.suspend(|| {
        let _ = writeln!(io::stderr(), "{text}");
    });
}

/// For the log: whole lines between the bars.
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write_all(data))
            .map(|()| data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Bars for the files of one transfer and their total.
pub struct Bars {
    total: ProgressBar,
    quiet: bool,
}

impl Bars {
    /// Shown if it makes sense for this process.
    pub fn new(verb: &'static str, quiet: bool, json: bool) -> Bars {
        let target = match std::env::var("ICWASI_PROGRESS").as_deref() {
            Ok("always") if io::stderr().is_terminal() => ProgressDrawTarget::stderr(),
            Ok("always") => ProgressDrawTarget::term_like_with_hz(Box::new(Plain::new()), 4),
            Ok("never") => ProgressDrawTarget::hidden(),
            _ if quiet || json || !io::stderr().is_terminal() => ProgressDrawTarget::hidden(),
            _ => ProgressDrawTarget::stderr(),
        };
        BARS.set_draw_target(target);
        let total = BARS.add(ProgressBar::new(0));
        total.set_style(style(
            "{prefix:>10} {bar:24} {bytes:>11} / {total_bytes:11} {bytes_per_sec:>13}  ETA {eta}",
        ));
        total.set_prefix(verb);
        Bars { total, quiet }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant that the tests parse")
        .progress_chars("=> ")
}

const FILE: &str =
    "{msg:>10!} {bar:24} {bytes:>11} / {total_bytes:11} {bytes_per_sec:>13}  ETA {eta}";

impl Progress for Bars {
    fn expect(&self, _files: u64, bytes: u64) {
        self.total.inc_length(bytes);
    }

    fn file(&self, name: &str, bytes: u64) -> Box<dyn FileProgress> {
        let bar = BARS.insert_before(&self.total, ProgressBar::new(bytes));
        bar.set_style(style(FILE));
        let name = safe(name.rsplit('/').next().unwrap_or(name));
        bar.set_message(name);
        Box::new(FileBar {
            bar,
            total: self.total.clone(),
        })
    }

    fn warn(&self, message: &str) {
        if !self.quiet {
            stderr_line(&format!("warning: {}", safe(message)));
        }
    }
}

struct FileBar {
    bar: ProgressBar,
    total: ProgressBar,
}

impl FileProgress for FileBar {
    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.total.inc(bytes);
    }

    fn restart(&self) {
        self.total.dec(self.bar.position());
        self.bar.reset();
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

impl Drop for FileBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Draws bars where there is no terminal, for transcripts: each state is a line of its own, and
/// the cursor never moves up.
#[derive(Debug)]
struct Plain {
    line: std::sync::Mutex<String>,
}

impl Plain {
    fn new() -> Plain {
        Plain {
            line: std::sync::Mutex::new(String::new()),
        }
    }

    fn end_line(&self) -> io::Result<()> {
        let mut line = self
            .line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = std::mem::take(&mut *line);
        let text = text.trim_end();
        if text.is_empty() {
            Ok(())
        } else {
            writeln!(io::stderr(), "{text}")
        }
    }
}

impl TermLike for Plain {
    fn width(&self) -> u16 {
        100
    }

    fn move_cursor_up(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.end_line()
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut line = self
            .line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        line.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.end_line()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn templates_parse() {
        drop(super::Bars::new("test", true, true));
        let _ = super::style(super::FILE);
    }
}
