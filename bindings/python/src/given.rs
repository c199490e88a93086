//! What a call came to, on its way from the core to Python.

use crate::convert;
use crate::errors::raised;
use crate::history::LastInvalidation;
use crate::outcome::Outcome;
use failsoft::foreign::Completion;
use failsoft::{Bytes, Error};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList};

/// How a call's values are given.
#[derive(Clone)]
pub(crate) struct Form {
    /// As `bytes`, or as `str` if there are keys here. The error for a value that is not UTF-8 names its key.
    text: Option<Box<[Bytes]>>,
    /// Of a call for many keys: the values alone, or the first error of any key.
    values: bool,
}

impl Form {
    /// As `bytes`; or there are none.
    pub(crate) const BYTES: Self = Self { text: None, values: false };

    /// As `str`.
    pub(crate) fn text(keys: Vec<Bytes>) -> Self {
        Self { text: Some(keys.into()), values: false }
    }

    pub(crate) fn values(self, values: bool) -> Self {
        Self { values, ..self }
    }

    /// The key of the value at this place, if the value is to be text.
    fn text_of(&self, place: usize) -> Option<&[u8]> {
        self.text.as_ref()?.get(place).map(|key| &**key)
    }
}

/// What a call came to.
pub(crate) enum Given {
    Value(Option<Bytes>),
    Outcome(failsoft::Outcome),
    Many(Vec<Result<failsoft::Outcome, Error>>),
    Nothing,
    Last(Option<failsoft::LastInvalidation>),
    Said(bool),
}

/// Whose call has ended, and how; what is no end comes back.
pub(crate) fn ended(completion: Completion) -> Result<(u64, Result<Given, Error>), Completion> {
    match completion {
        Completion::Value { token, result } => Ok((token, result.map(Given::Value))),
        Completion::Outcome { token, result } => Ok((token, result.map(Given::Outcome))),
        Completion::Many { token, result } => Ok((token, result.map(Given::Many))),
        Completion::Done { token, result } => Ok((token, result.map(|()| Given::Nothing))),
        Completion::Last { token, result } => Ok((token, result.map(Given::Last))),
        Completion::Said { token, result } => Ok((token, result.map(Given::Said))),
        other => Err(other),
    }
}

impl Given {
    pub(crate) fn into_python<'py>(self, py: Python<'py>, form: &Form) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Value(value) => convert::value(py, value.as_ref(), form.text_of(0)),
            Self::Outcome(given) => outcome(py, given, form.text_of(0)),
            Self::Many(results) => many(py, results, form),
            Self::Nothing | Self::Last(None) => Ok(py.None().into_bound(py)),
            Self::Last(Some(last)) => Ok(Bound::new(py, LastInvalidation::from(last))?.into_any()),
            Self::Said(said) => Ok(PyBool::new(py, said).to_owned().into_any()),
        }
    }
}

/// An outcome, whose value is text if this is its key.
pub(crate) fn outcome<'py>(
    py: Python<'py>,
    given: failsoft::Outcome,
    text_of: Option<&[u8]>,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(Bound::new(py, Outcome::new(py, given, text_of)?)?.into_any())
}

/// An outcome or an exception for each key, or its value.
fn many<'py>(
    py: Python<'py>,
    results: Vec<Result<failsoft::Outcome, Error>>,
    form: &Form,
) -> PyResult<Bound<'py, PyAny>> {
    let list = PyList::empty(py);
    for (place, result) in results.into_iter().enumerate() {
        let outcome = result.map_err(|error| raised(py, &error));
        if form.values {
            list.append(convert::value(py, outcome?.value.as_ref(), form.text_of(place))?)?;
            continue;
        }
        match outcome.and_then(|outcome| Outcome::new(py, outcome, form.text_of(place))) {
            Ok(outcome) => list.append(outcome)?,
            Err(error) => list.append(error.into_value(py))?,
        }
    }
    Ok(list.into_any())
}
