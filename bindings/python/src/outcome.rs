//! What a read came to, as a Python object.

use crate::convert::{self, duration};
use crate::ending;
use crate::errors::invalid;
use failsoft::{Reason, ServedBy};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use std::time::Duration;

/// What a read came to, with the account of how. Equal to another one if all of its fields are.
#[pyclass(frozen, eq, generic, module = "failsoft")]
pub(crate) struct Outcome {
    /// Made at once: undecodable text is told by the read, not by who looks at it.
    value: Py<PyAny>,
    served_by: ServedBy,
    reason: Option<Reason>,
    age: Option<Duration>,
    attempts: u32,
    coalesced: bool,
    node: Option<String>,
}

impl Outcome {
    /// The value is text if this is its key.
    pub(crate) fn new(py: Python<'_>, outcome: failsoft::Outcome, text_of: Option<&[u8]>) -> PyResult<Self> {
        let value = convert::value(py, outcome.value.as_ref(), text_of)?.unbind();
        let failsoft::Outcome { served_by, reason, age, attempts, coalesced, node, .. } = outcome;
        Ok(Self { value, served_by, reason, age, attempts, coalesced, node: node.map(|node| node.to_string()) })
    }

    fn account(&self) -> impl PartialEq + '_ {
        (self.served_by, self.reason, self.age, self.attempts, self.coalesced, &self.node)
    }
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        ending::watch();
        let values = || Python::attach(|py| self.value.bind(py).eq(other.value.bind(py)));
        self.account() == other.account() && values().unwrap_or(false)
    }
}

#[pymethods]
impl Outcome {
    /// Made by hand: for tests that stand in for a router.
    #[new]
    #[pyo3(signature = (value, served_by, reason=None, *, age=Some(0.0), attempts=0, coalesced=false, node=None))]
    #[allow(clippy::too_many_arguments)]
    fn by_hand(
        py: Python<'_>,
        value: Py<PyAny>,
        served_by: &str,
        reason: Option<&str>,
        age: Option<f64>,
        attempts: u32,
        coalesced: bool,
        node: Option<String>,
    ) -> PyResult<Self> {
        ending::watch();
        let Some(served_by) = ServedBy::ALL.iter().copied().find(|s| s.as_str() == served_by) else {
            return Err(unknown(py, "served_by", served_by, ServedBy::ALL.iter().map(|s| s.as_str())));
        };
        let reason = match reason {
            None => None,
            Some(word) => match Reason::ALL.iter().copied().find(|r| r.as_str() == word) {
                None => return Err(unknown(py, "reason", word, Reason::ALL.iter().map(|r| r.as_str()))),
                known => known,
            },
        };
        let age = age.map(|age| duration(py, "age", age)).transpose()?;
        Ok(Self { value, served_by, reason, age, attempts, coalesced, node })
    }

    /// The value; `None` if the key does not exist.
    #[getter]
    fn value(&self, py: Python<'_>) -> Py<PyAny> {
        self.value.clone_ref(py)
    }

    /// `primary`, `replica`, `secondary` (the fallback) or `none`.
    #[getter]
    fn served_by(&self) -> &'static str {
        self.served_by.as_str()
    }

    /// Why the primary did not serve it; `None` if it did.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.reason.map(|reason| reason.as_str())
    }

    /// Seconds since the value was last known to be current; `None` if nobody can say.
    #[getter]
    fn age(&self) -> Option<f64> {
        self.age.map(|age| age.as_secs_f64())
    }

    /// How many attempts were sent to nodes.
    #[getter]
    fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether another caller's work served this one.
    #[getter]
    fn coalesced(&self) -> bool {
        self.coalesced
    }

    /// `host:port` of the node that answered; `None` for the other sources.
    #[getter]
    fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        ending::watch();
        let fields = (self.value(py), self.served_by(), self.reason(), self.age(), self.attempts, self.coalesced);
        (fields, self.node()).into_pyobject(py)?.hash()
    }

    /// For `copy` and `pickle`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let made = py.import("failsoft._router")?.getattr("outcome_of")?;
        let (class, node): (Bound<'_, PyType>, _) = (slf.get_type(), this.node());
        let how = (this.served_by(), this.reason(), this.age(), this.attempts, this.coalesced, node);
        Ok((made, (class, this.value(py), how).into_pyobject(py)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        ending::watch();
        let text = |value: Option<&str>| value.map_or_else(|| "None".to_owned(), |v| format!("'{v}'"));
        Ok(format!(
            "Outcome(value={}, served_by='{}', reason={}, age={}, attempts={}, coalesced={}, node={})",
            self.value.bind(py).repr()?,
            self.served_by(),
            text(self.reason()),
            self.age().map_or_else(|| "None".to_owned(), |age| format!("{age:.3}")),
            self.attempts(),
            if self.coalesced() { "True" } else { "False" },
            text(self.node()),
        ))
    }
}

fn unknown(py: Python<'_>, argument: &'static str, word: &str, words: impl Iterator<Item = &'static str>) -> PyErr {
    invalid(py, argument, format!("{word:?} is none; allowed: {}", words.collect::<Vec<_>>().join(", ")))
}
