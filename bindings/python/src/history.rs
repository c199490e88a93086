//! A record of an invalidation, as a Python object.

use crate::convert::duration;
use crate::ending;
use crate::errors::invalid;
use failsoft::InvalidationRecord;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::time::{Duration, UNIX_EPOCH};

/// The last invalidation of a key that there is a record of. Equal to another one if all of its fields are.
#[pyclass(frozen, eq, module = "failsoft")]
#[derive(PartialEq)]
pub(crate) struct LastInvalidation {
    age: Option<Duration>,
    at: Option<Duration>,
    id: Option<String>,
    own: bool,
    record: InvalidationRecord,
}

impl From<failsoft::LastInvalidation> for LastInvalidation {
    fn from(last: failsoft::LastInvalidation) -> Self {
        let failsoft::LastInvalidation { age, at, id, own, record } = last;
        Self { age, at: at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()), id, own, record }
    }
}

#[pymethods]
impl LastInvalidation {
    /// Made by hand: for tests that stand in for a router.
    #[new]
    #[pyo3(signature = (*, age=None, at=None, id=None, own=false, record="mark"))]
    fn by_hand(
        py: Python<'_>,
        age: Option<f64>,
        at: Option<f64>,
        id: Option<String>,
        own: bool,
        record: &str,
    ) -> PyResult<Self> {
        ending::watch();
        let Some(record) = InvalidationRecord::ALL.iter().copied().find(|r| r.as_str() == record) else {
            let words = InvalidationRecord::ALL.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ");
            return Err(invalid(py, "record", format!("{record:?} is none; allowed: {words}")));
        };
        let age = age.map(|age| duration(py, "age", age)).transpose()?;
        let at = at.map(|at| duration(py, "at", at)).transpose()?;
        Ok(Self { age, at, id, own, record })
    }

    /// Seconds since then, by the clock of the server that has the record; `None` where no clock was asked.
    #[getter]
    fn age(&self) -> Option<f64> {
        self.age.map(|age| age.as_secs_f64())
    }

    /// When it was by that clock, in seconds since 1970; `None` where none was asked.
    #[getter]
    fn at(&self) -> Option<f64> {
        self.at.map(|at| at.as_secs_f64())
    }

    /// Its id, of which the first eight digits name the router that made it (`id` in its health); `None` if no more is
    /// known than that there was one.
    #[getter]
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether this router made it.
    #[getter]
    fn own(&self) -> bool {
        self.own
    }

    /// Where it is known from: `mark`, `echo`, `process` or `log`.
    #[getter]
    fn record(&self) -> &'static str {
        self.record.as_str()
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        ending::watch();
        (self.age(), self.at(), self.id(), self.own, self.record()).into_pyobject(py)?.hash()
    }

    /// For `copy` and `pickle`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let made = py.import("failsoft._router")?.getattr("last_of")?;
        let class: Bound<'_, PyType> = slf.get_type();
        let fields = (this.age(), this.at(), this.id(), this.own, this.record());
        let (age, at, id, own, record) = fields;
        Ok((made, (class, age, at, id, own, record).into_pyobject(py)?))
    }

    fn __repr__(&self) -> String {
        let number = |n: Option<f64>| n.map_or_else(|| "None".to_owned(), |n| format!("{n:.3}"));
        let id = self.id().map_or_else(|| "None".to_owned(), |id| format!("'{id}'"));
        let own = if self.own { "True" } else { "False" };
        let (age, at, record) = (number(self.age()), number(self.at()), self.record());
        format!("LastInvalidation(age={age}, at={at}, id={id}, own={own}, record='{record}')")
    }
}
