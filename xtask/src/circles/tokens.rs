//! [`tokens`]: Rust source as far as names go. Comments are dropped; literals and lifetimes are one token each, without
//! their text.

/// What stands for a string, a character, a number or a lifetime.
pub const LITERAL: &str = "\"";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// A word, `::`, [`LITERAL`], or any other single character. `r#type` is `type`.
    pub text: &'a str,
    /// From 1.
    pub line: usize,
}

impl Token<'_> {
    /// Whether it is a name or a keyword.
    pub fn is_word(&self) -> bool {
        self.text.bytes().next().is_some_and(begins_word)
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit()
}

/// The tokens of a file that the compiler takes; of another they are some.
pub fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader { source, at: 0, line: 1, tokens: Vec::new() };
    while let Some(byte) = reader.peek(0) {
        reader.next(byte);
    }
    reader.tokens
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    fn begins_with(&self, text: &str) -> bool {
        self.source.as_bytes()[self.at..].starts_with(text.as_bytes())
    }

    /// Goes over one byte.
    fn skip(&mut self) {
        self.line += usize::from(self.peek(0) == Some(b'\n'));
        self.at += 1;
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.skip();
        }
    }

    fn push(&mut self, text: &'a str, line: usize) {
        self.tokens.push(Token { text, line });
    }

    fn next(&mut self, byte: u8) {
        let line = self.line;
        match byte {
            _ if byte.is_ascii_whitespace() => self.skip(),
            _ if self.begins_with("//") => self.skip_while(|byte| byte != b'\n'),
            _ if self.begins_with("/*") => self.comment(),
            b'"' => {
                self.string();
                self.push(LITERAL, line);
            }
            b'\'' => {
                self.character_or_lifetime();
                self.push(LITERAL, line);
            }
            _ if byte.is_ascii_digit() => {
                self.number();
                self.push(LITERAL, line);
            }
            _ if begins_word(byte) => self.word(line),
            _ if self.begins_with("::") => {
                self.at += 2;
                self.push("::", line);
            }
            _ => {
                self.push(&self.source[self.at..=self.at], line);
                self.at += 1;
            }
        }
    }

    /// Comments of this kind nest.
    fn comment(&mut self) {
        let mut depth = 0;
        while self.peek(0).is_some() {
            if self.begins_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.begins_with("*/") {
                depth -= 1;
                self.at += 2;
            } else {
                self.skip();
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.skip();
        while let Some(byte) = self.peek(0) {
            self.skip();
            match byte {
                b'"' => return,
                b'\\' => self.skip(),
                _ => {}
            }
        }
    }

    /// `r"…"` and `r#"…"#`, from its first `#` or quote on.
    fn raw_string(&mut self) {
        let start = self.at;
        self.skip_while(|byte| byte == b'#');
        let end = format!("\"{}", &self.source[start..self.at]);
        self.skip();
        while self.peek(0).is_some() && !self.begins_with(&end) {
            self.skip();
        }
        self.at = (self.at + end.len()).min(self.source.len());
    }

    fn character_or_lifetime(&mut self) {
        let mut rest = self.source[self.at + 1..].chars();
        let (first, second) = (rest.next(), rest.next());
        self.at += 1;
        if first == Some('\\') {
            self.at += 2;
            self.skip_while(|byte| byte != b'\'');
            self.at += 1;
        } else if second == Some('\'') {
            let length = first.map_or(0, char::len_utf8);
            (0..=length).for_each(|_| self.skip());
        } else {
            self.skip_while(continues_word);
        }
    }

    fn number(&mut self) {
        self.skip_while(continues_word);
        // Not the dots of a range, and not that of a method.
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip();
            self.skip_while(continues_word);
        }
    }

    fn word(&mut self, line: usize) {
        let start = self.at;
        self.skip_while(continues_word);
        let word = &self.source[start..self.at];
        match (word, self.peek(0)) {
            ("r" | "br" | "cr", Some(b'"')) => self.raw_string(),
            ("r", Some(b'#')) if self.peek(1).is_some_and(begins_word) => {
                self.skip();
                return self.word(line);
            }
            ("r" | "br" | "cr", Some(b'#')) => self.raw_string(),
            ("b" | "c", Some(b'"')) => self.string(),
            ("b", Some(b'\'')) => self.character_or_lifetime(),
            _ => return self.push(word, line),
        }
        self.push(LITERAL, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_paths_and_lines() {
        let found = tokens("use a::b;\n\n  fn r#type() {}");
        let found: Vec<_> = found.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(
            found,
            [
                ("use", 1),
                ("a", 1),
                ("::", 1),
                ("b", 1),
                (";", 1),
                ("fn", 3),
                ("type", 3),
                ("(", 3),
                (")", 3),
                ("{", 3),
                ("}", 3)
            ]
        );
    }

    #[test]
    fn comments_hold_nothing() {
        assert_eq!(texts("a // crate::b\n/* c /* d */ e */ f /// g"), ["a", "f"]);
    }

    #[test]
    fn literals_hold_nothing_however_they_are_written() {
        for literal in [
            r#""a \" b""#,
            r##"r"a\""##,
            r###"r#"a "b" c"#"###,
            r#"b"a""#,
            r###"br#"a"b"#"###,
            "'a'",
            "'\\''",
            "'\\u{1F}'",
            "b'\"'",
            "'é'",
            "12.5e3",
            "0xFF_u8",
        ] {
            assert_eq!(texts(&format!("x {literal} y")), ["x", LITERAL, "y"], "{literal}");
        }
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert_eq!(texts("&'a str, 'static"), ["&", LITERAL, "str", ",", LITERAL]);
        assert_eq!(texts("0..n"), [LITERAL, ".", ".", "n"]);
    }

    #[test]
    fn lines_are_counted_within_literals_and_comments() {
        assert_eq!(tokens("\"a\nb\" /* c\n\n*/ d").last().map(|token| token.line), Some(4));
    }
}
