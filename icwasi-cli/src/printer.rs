//! All output: data to stdout, everything else to stderr.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::ui_progress;

/// Version of the JSON output. Goes up when a field changes its meaning or disappears.
pub const JSON_VERSION: u32 = 1;

/// Stdout was closed by who reads it, as `head` does: no failure, just the end.
#[derive(Debug)]
pub struct OutputClosed;

impl std::fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the output was closed")
    }
}

impl std::error::Error for OutputClosed {}

/// Prints what commands have to say.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// Results as JSON.
    pub json: bool,
    /// No messages except errors.
    pub quiet: bool,
}

impl Printer {
    /// A line of data for people; nothing with `--json`.
    pub fn line(&self, text: &str) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        write_stdout(&format!("{text}\n"))
    }

    /// The result for machines; nothing without `--json`. `result` becomes fields beside
    /// `version`.
    pub fn json(&self, result: impl Serialize) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut document = json!({ "version": JSON_VERSION });
        if let (Value::Object(document), Value::Object(fields)) =
            (&mut document, serde_json::to_value(result)?)
        {
            document.extend(fields);
        }
        write_stdout(&format!("{document}\n"))
    }

    /// What was done, to stderr.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            ui_progress::stderr_line(text);
        }
    }

    /// A failure, to stderr.
    pub fn error(&self, kind: &str, error: &anyhow::Error) {
        // Causes whose text the outer message repeats already are not said twice.
        let mut message = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        if self.json {
            let error = json!({ "kind": kind, "message": message });
            let document = json!({ "version": JSON_VERSION, "error": error });
            ui_progress::stderr_line(&document.to_string());
        } else {
            ui_progress::stderr_line(&format!("error: {}", safe_lines(&message)));
        }
    }
}

fn write_stdout(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(output_error)
}

/// Sorts out the closed pipe.
pub fn output_error(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        OutputClosed.into()
    } else {
        anyhow::Error::new(error).context("cannot write the output")
    }
}

/// Text of a canister for a terminal or a line-based program: control characters, which could
/// move the cursor or fake lines, are escaped, and so is what reverses the direction of text.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`safe`], with line breaks kept.
pub fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// `2026-11-23T05:05:20Z` for nanoseconds since 1970.
pub fn time(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last; 400 years repeat.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `1.5 MiB`; bytes below 1,024 as they are.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.95 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |s: u64| time(s * 1_000_000_000);
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(time(u64::MAX), "2554-07-21T23:34:33Z");
    }

    #[test]
    fn hostile_text_is_harmless() {
        assert_eq!(safe("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J\\u{a}\\u{202e}b");
        assert_eq!(safe("ünïcode ok"), "ünïcode ok");
    }

    #[test]
    fn sizes() {
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(1_048_575), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
    }
}
