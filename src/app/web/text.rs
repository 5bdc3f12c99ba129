//! What others wrote, made fit for a page.

use std::fmt::{self, Display, Formatter, Write};

/// Characters of a name that are shown.
const LONGEST: usize = 200;

/// Text for HTML, in an element or between quotes. What would be markup is escaped; what cannot be seen or turns the direction of writing is replaced.
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(LONGEST) {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if misleads(c) => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        if chars.next().is_some() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

/// Controls, marks and overrides of direction, what has no width, and line separators.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number with a comma after every three digits.
pub struct Grouped(pub u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text_and_what_misleads_is_seen() {
        let shown = |text| Escaped(text).to_string();
        assert_eq!(
            shown("<script>alert('&\"')</script>"),
            "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"
        );
        assert_eq!(shown("a\0b\x1b[31m\u{202e}c\u{200b}"), "a�b�[31m�c�");
        assert_eq!(shown("größe 文件 \u{1f41d}"), "größe 文件 \u{1f41d}");
        assert_eq!(shown(&"<".repeat(300)), "&lt;".repeat(200) + "…");
    }

    #[test]
    fn numbers_are_grouped() {
        let shown = |n| Grouped(n).to_string();
        assert_eq!(
            [0, 999, 1000, 12_345_678].map(shown),
            ["0", "999", "1,000", "12,345,678"]
        );
    }
}
