//! The XML that `KeePass` writes: elements and text. Document types, entities of a document's own, and whatever else
//! could make a stranger's document grow or reach outside, are not read.

use zeroize::Zeroizing;

use super::ImportError;

/// Levels of nesting: groups in groups.
const DEPTH_MAX: usize = 256;

/// A piece of a document. Names borrow from it.
pub(super) enum Piece<'a> {
    Open { name: &'a str, attributes: &'a str },
    Text(Zeroizing<String>),
    Close { name: &'a str },
}

/// Reads a document, piece by piece.
pub(super) struct Xml<'a> {
    whole: &'a str,
    rest: &'a str,
    open: Vec<&'a str>,
    /// Whether an element without contents was opened, which is closed next.
    closes: bool,
}

impl<'a> Xml<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { whole: text, rest: text, open: Vec::new(), closes: false }
    }

    /// The next piece, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'a>>, ImportError> {
        if std::mem::take(&mut self.closes) {
            return Ok(self.open.pop().map(|name| Piece::Close { name }));
        }
        loop {
            let Some(tag) = self.rest.strip_prefix('<') else {
                if self.rest.trim().is_empty() {
                    return if self.open.is_empty() { Ok(None) } else { Err(ImportError::Truncated) };
                }
                let end = self.rest.find('<').ok_or(ImportError::Truncated)?;
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Ok(Some(Piece::Text(self.unescaped(text)?)));
            };
            let skipped =
                [("?", "?>"), ("!--", "-->")].into_iter().find_map(|(from, to)| Some((tag.strip_prefix(from)?, to)));
            if let Some((inside, end)) = skipped {
                (_, self.rest) = inside.split_once(end).ok_or(ImportError::Truncated)?;
                continue;
            }
            let (tag, rest) = tag.split_once('>').ok_or(ImportError::Truncated)?;
            self.rest = rest;
            return self.tag(tag).map(Some);
        }
    }

    fn tag(&mut self, tag: &'a str) -> Result<Piece<'a>, ImportError> {
        if let Some(name) = tag.strip_prefix('/') {
            let open = self.open.pop().filter(|open| *open == name.trim());
            return open.map(|name| Piece::Close { name }).ok_or_else(|| self.broken());
        }
        if tag.starts_with('!') {
            return Err(self.broken());
        }
        let inside = tag.strip_suffix('/');
        let (name, attributes) =
            inside.unwrap_or(tag).split_once(char::is_whitespace).unwrap_or((inside.unwrap_or(tag), ""));
        self.closes = inside.is_some();
        self.open.push(name);
        if self.open.len() > DEPTH_MAX { Err(self.broken()) } else { Ok(Piece::Open { name, attributes }) }
    }

    /// Whether an element of this name is open.
    pub(super) fn is_inside(&self, name: &str) -> bool {
        self.open.contains(&name)
    }

    fn unescaped(&self, text: &str) -> Result<Zeroizing<String>, ImportError> {
        // An escape is longer than its character, so the text never moves.
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        let mut pieces = text.split('&');
        plain.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let (name, rest) = piece.split_once(';').ok_or_else(|| self.broken())?;
            let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => number.parse().ok(),
            });
            let named = match name {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => number.and_then(char::from_u32),
            };
            plain.push(named.ok_or_else(|| self.broken())?);
            plain.push_str(rest);
        }
        Ok(plain)
    }

    fn broken(&self) -> ImportError {
        let read = self.whole.len().saturating_sub(self.rest.len());
        let before = self.whole.bytes().take(read).filter(|byte| *byte == b'\n');
        ImportError::Xml { line: before.count() + 1 }
    }
}
