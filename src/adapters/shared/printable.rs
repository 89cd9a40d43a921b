//! Foreign text, made safe for a terminal, a log line and a page.

/// Returns true if a character can move the cursor, break the line or reorder the text around it.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text with `substitute` for each unprintable character.
pub(crate) fn printable(text: &str, substitute: char) -> String {
    text.chars().map(|c| if is_unprintable(c) { substitute } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_move_the_cursor_break_the_line_or_reorder_itself() {
        let hostile = "a\u{1b}[2J\r\n\u{85}\u{2028}\u{202e}b\u{2069}\u{200f}";
        assert_eq!(printable(hostile, '?'), "a?[2J?????b??");
        assert_eq!(printable("größer 日本 👍", '?'), "größer 日本 👍");
    }
}
