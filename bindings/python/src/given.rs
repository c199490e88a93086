//! What a call came to, on its way from the core to Python.

use crate::convert;
use crate::errors::raised;
use crate::outcome::Outcome;
use failsoft::foreign::Completion;
use failsoft::{Bytes, Error};
use pyo3::prelude::*;
use pyo3::types::PyList;

/// What a call came to.
pub(crate) enum Given {
    Value(Option<Bytes>),
    Outcome(failsoft::Outcome),
    Many(Vec<Result<failsoft::Outcome, Error>>),
    Nothing,
}

/// Whose call has ended, and how; what is no end comes back.
pub(crate) fn ended(completion: Completion) -> Result<(u64, Result<Given, Error>), Completion> {
    match completion {
        Completion::Value { token, result } => Ok((token, result.map(Given::Value))),
        Completion::Outcome { token, result } => Ok((token, result.map(Given::Outcome))),
        Completion::Many { token, result } => Ok((token, result.map(Given::Many))),
        Completion::Done { token, result } => Ok((token, result.map(|()| Given::Nothing))),
        other => Err(other),
    }
}

impl Given {
    pub(crate) fn into_python(self, py: Python<'_>, decode: bool) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Self::Value(value) => convert::value(py, value.as_ref(), decode),
            Self::Outcome(outcome) => Ok(Bound::new(py, Outcome::new(py, outcome, decode)?)?.into_any()),
            Self::Many(results) => many(py, results, decode),
            Self::Nothing => Ok(py.None().into_bound(py)),
        }
    }
}

/// An outcome or an exception for each key.
fn many(py: Python<'_>, results: Vec<Result<failsoft::Outcome, Error>>, decode: bool) -> PyResult<Bound<'_, PyAny>> {
    let list = PyList::empty(py);
    for result in results {
        match result.map_err(|error| raised(py, &error)).and_then(|outcome| Outcome::new(py, outcome, decode)) {
            Ok(outcome) => list.append(outcome)?,
            Err(error) => list.append(error.into_value(py))?,
        }
    }
    Ok(list.into_any())
}
