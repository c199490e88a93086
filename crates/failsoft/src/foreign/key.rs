//! The key of a read, kept until the read has ended. A short one takes no memory of its own.
//!
//! The caller's thread makes it and the I/O thread drops it. Memory that one thread allocates and another one frees
//! costs much more than to copy these few bytes.

use bytes::Bytes;
use std::fmt;
use std::ops::Deref;

/// Longer keys get memory of their own. With its length, a key of so many bytes takes no more room than a long one.
const SHORT: usize = 38;

/// See the module.
#[derive(Clone)]
pub struct Key(Held);

#[derive(Clone)]
enum Held {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

impl Key {
    fn short(key: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORT];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self(Held::Short { length: u8::try_from(key.len()).ok()?, bytes }))
    }
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(key: &[u8]) -> Self {
        Self::short(key).unwrap_or_else(|| Self(Held::Long(Bytes::copy_from_slice(key))))
    }
}

impl From<Bytes> for Key {
    #[inline]
    fn from(key: Bytes) -> Self {
        Self::short(&key).unwrap_or(Self(Held::Long(key)))
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Short { length, bytes } => &bytes[..usize::from(*length)],
            Held::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_length_is_the_bytes_it_was_made_of() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 256, 1000] {
            let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
            assert_eq!(*Key::from(&bytes[..]), bytes);
            let key = Key::from(Bytes::from(bytes.clone()));
            assert_eq!(*key, bytes);
            assert_eq!(matches!(key.0, Held::Short { .. }), length <= SHORT);
        }
        assert_eq!(size_of::<Key>(), size_of::<(u8, Bytes)>(), "what tells the two kinds apart costs a word");
    }
}
