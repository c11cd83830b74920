//! Makes the reason of a trap readable.

/// The line behind which the frames are, one a line.
const FRAMES: &str = "Canister Backtrace:";

/// The message of a trapped run without the canister's name, which says nothing here, and with
/// functions named as in their source: the core does that for Rust, this for C++.
pub(super) fn readable(message: &str) -> String {
    let reason = match message.strip_prefix("Error from Canister ") {
        Some(rest) => rest.split_once(": ").map_or(message, |(_, reason)| reason),
        None => message,
    };
    let Some((reason, frames)) = reason.split_once(FRAMES) else {
        return reason.to_owned();
    };
    let mut text = format!("{reason}Backtrace, innermost function first:");
    for frame in frames.lines().filter(|frame| !frame.is_empty()) {
        text.push_str("\n  ");
        text.push_str(&demangled(frame));
    }
    text
}

fn demangled(name: &str) -> String {
    let cpp = name
        .starts_with("_Z")
        .then(|| cpp_demangle::Symbol::new(name).ok());
    let cpp = cpp.flatten().and_then(|symbol| symbol.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_named_as_in_the_source() {
        let message = "Error from Canister aaaaa-aa: Canister trapped: unreachable\nCanister \
                       Backtrace:\ncore::panicking::panic\n_ZNK6Circle4areaEv\nmain\n";
        assert_eq!(
            readable(message),
            "Canister trapped: unreachable\nBacktrace, innermost function first:\n  \
             core::panicking::panic\n  Circle::area() const\n  main"
        );
        assert_eq!(readable("no frames"), "no frames");
    }
}
