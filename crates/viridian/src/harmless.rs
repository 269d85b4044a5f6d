// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text that comes from a guest or a file, made fit to be shown: nothing in it steers the terminal.

use std::path::Path;

/// The line with everything escaped that cannot be printed.
pub(crate) fn harmless(line: &str) -> String {
    let escape = |letter: char| {
        // What cannot be printed has a longer escape than a backslash and itself.
        let escaped = letter.escape_debug();
        if escaped.len() > 2 || letter.is_control() { escaped.to_string() } else { letter.to_string() }
    };
    line.chars().map(escape).collect()
}

/// A file's name, made harmless.
pub(crate) fn harmless_path(path: &Path) -> String {
    harmless(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(harmless(r#"Comm: "sh" 'x' \ µ"#), r#"Comm: "sh" 'x' \ µ"#);
        assert_eq!(harmless("\x1b[2J\t\u{202e}\u{7f}"), r"\u{1b}[2J\t\u{202e}\u{7f}");
    }
}
