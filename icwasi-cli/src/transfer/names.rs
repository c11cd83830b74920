//! Which names of a canister may become names of files here. A canister's names are hostile.

/// Says why `name` must not become a file name on this computer.
///
/// What is reserved on Windows is refused everywhere: a tree that is pulled can then be copied
/// anywhere, and the same pull gives the same result on each system.
pub fn check_local_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name == "." || name == ".." {
        return Err("it names a directory itself");
    }
    if name.len() > crate::remote::path::MAX_NAME {
        return Err("it is longer than 255 bytes");
    }
    if name.contains(['/', '\\']) {
        return Err("it contains a path separator");
    }
    if name.contains('\0') {
        return Err("it contains a NUL byte");
    }
    if name.chars().any(char::is_control) {
        return Err("it contains control characters");
    }
    if name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Err("it contains a character that is reserved on Windows");
    }
    if name.ends_with(['.', ' ']) {
        return Err("it ends with a dot or a space, which Windows drops");
    }
    let stem = name
        .split('.')
        .next()
        .unwrap_or(name)
        .trim_end()
        .to_ascii_uppercase();
    let device = matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) || ["COM", "LPT"].iter().any(|d| {
        let rest = stem.strip_prefix(d).unwrap_or("");
        let mut digits = rest.chars();
        matches!(
            (digits.next(), digits.next()),
            (Some('0'..='9' | '¹' | '²' | '³'), None)
        )
    });
    if device {
        return Err("it names a device on Windows");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_local_name;

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "/etc/passwd",
            "..\\x",
            "C:x",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            "nul",
            "NUL.txt",
            "com1",
            "LPT9.log",
            "aux .c",
            "COM²",
            "dot.",
            "space ",
            "a?b",
            "x:stream",
            &long,
        ] {
            assert!(check_local_name(name).is_err(), "{name:?}");
        }
        for name in [
            "a",
            ".hidden",
            "...x",
            "cities.db",
            "com10",
            "null",
            "ü ö.txt",
            "a b",
        ] {
            assert_eq!(check_local_name(name), Ok(()), "{name:?}");
        }
    }
}
