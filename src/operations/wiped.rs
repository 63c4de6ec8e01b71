//! JSON that is wiped on drop, and buffers that leave no copy behind when they grow: both may hold a seed.

use std::{
    io, mem,
    ops::{Deref, DerefMut},
};

use serde_json::{Map, Value};
use zeroize::Zeroize as _;

/// A value with texts that can be wiped.
pub trait WipeTexts: Default {
    /// Wipes every text, including field names, because a secret may be in place of a name. The rest holds nothing
    /// sensitive.
    fn wipe_texts(&mut self);
}

impl WipeTexts for Value {
    fn wipe_texts(&mut self) {
        match self {
            Self::String(text) => text.zeroize(),
            Self::Array(items) => items.iter_mut().for_each(Self::wipe_texts),
            Self::Object(fields) => fields.wipe_texts(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl WipeTexts for Map<String, Value> {
    fn wipe_texts(&mut self) {
        for (mut name, mut value) in mem::take(self) {
            name.zeroize();
            value.wipe_texts();
        }
    }
}

/// JSON whose texts are wiped on drop, however a call ends. No `Debug`: it would show them.
#[derive(Default)]
pub struct Wiped<T: WipeTexts>(T);

impl<T: WipeTexts> Wiped<T> {
    /// Takes the JSON out; the caller must wipe it.
    pub fn into_inner(mut self) -> T {
        mem::take(&mut self.0)
    }
}

impl Wiped<Value> {
    /// The fields, if it is an object.
    pub fn into_fields(mut self) -> Option<Wiped<Map<String, Value>>> {
        self.0.as_object_mut().map(mem::take).map(Wiped)
    }
}

impl<T: WipeTexts> From<T> for Wiped<T> {
    fn from(json: T) -> Self {
        Self(json)
    }
}

impl<T: WipeTexts> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: WipeTexts> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: WipeTexts> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe_texts();
    }
}

/// Appends to a buffer. When it grows, the old allocation is wiped; a `Vec` that grows by itself leaves a copy behind.
pub struct Appending<'a>(pub &'a mut Vec<u8>);

impl io::Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()));
            larger.extend_from_slice(self.0);
            mem::replace(self.0, larger).zeroize();
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_left_of_json_that_was_wiped() {
        let mut json = json!({"uri": "a", "A": [{"B": "c"}, 1], "d": null});
        json.wipe_texts();
        assert_eq!(json, json!({}));
    }

    #[test]
    fn a_buffer_holds_what_was_written_however_often_it_grew() {
        let mut buffer = Vec::with_capacity(2);
        for part in ["a", "bc", "defghijkl", ""] {
            Appending(&mut buffer).write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(buffer, b"abcdefghijkl");
    }
}
