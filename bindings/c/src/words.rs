//! The core's closed lists of words as C strings.

use crate::status::text;
use failsoft::{InvalidationRecord, Reason, ServedBy};
use std::ffi::{CString, c_char};
use std::sync::LazyLock;

static SOURCES: LazyLock<Vec<CString>> = LazyLock::new(|| ServedBy::ALL.iter().map(|s| text(s.as_str())).collect());
static REASONS: LazyLock<Vec<CString>> = LazyLock::new(|| Reason::ALL.iter().map(|r| text(r.as_str())).collect());
static RECORDS: LazyLock<Vec<CString>> =
    LazyLock::new(|| InvalidationRecord::ALL.iter().map(|r| text(r.as_str())).collect());

/// Static.
pub(crate) fn record(record: InvalidationRecord) -> *const c_char {
    RECORDS.get(record as usize).map_or(std::ptr::null(), |word| word.as_ptr())
}

/// Static.
pub(crate) fn source(source: ServedBy) -> *const c_char {
    SOURCES.get(source as usize).map_or(std::ptr::null(), |word| word.as_ptr())
}

/// Static; NULL if there is none.
pub(crate) fn reason(reason: Option<Reason>) -> *const c_char {
    reason.and_then(|reason| REASONS.get(reason as usize)).map_or(std::ptr::null(), |word| word.as_ptr())
}

/// The words in quotes between two texts of a source whose header text is checked.
#[cfg(test)]
pub(crate) fn quoted_between(source: &str, from: &str, to: &str) -> Vec<String> {
    let source = source.replace("\n/// ", " ");
    let text = source.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap_or_default();
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_in_its_own_place() {
        for (place, known) in ServedBy::ALL.iter().enumerate() {
            assert_eq!((*known as usize, SOURCES[place].to_str()), (place, Ok(known.as_str())));
        }
        for (place, known) in Reason::ALL.iter().enumerate() {
            assert_eq!((*known as usize, REASONS[place].to_str()), (place, Ok(known.as_str())));
        }
        for (place, known) in InvalidationRecord::ALL.iter().enumerate() {
            assert_eq!((*known as usize, RECORDS[place].to_str()), (place, Ok(known.as_str())));
        }
    }
}
