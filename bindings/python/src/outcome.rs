//! What a read came to, as a Python object.

use crate::convert;
use pyo3::prelude::*;

/// What a read came to, with the account of how.
#[pyclass(frozen, module = "failsoft")]
pub(crate) struct Outcome {
    outcome: failsoft::Outcome,
    /// Made at once: undecodable text is told by the read, not by who looks at it.
    value: Py<PyAny>,
}

impl Outcome {
    pub(crate) fn new(py: Python<'_>, outcome: failsoft::Outcome, decode: bool) -> PyResult<Self> {
        let value = convert::value(py, outcome.value.as_ref(), decode)?.unbind();
        Ok(Self { outcome, value })
    }
}

#[pymethods]
impl Outcome {
    /// The value; `None` if the key does not exist.
    #[getter]
    fn value(&self, py: Python<'_>) -> Py<PyAny> {
        self.value.clone_ref(py)
    }

    /// `primary`, `replica`, `secondary` (the fallback) or `none`.
    #[getter]
    fn served_by(&self) -> &'static str {
        self.outcome.served_by.as_str()
    }

    /// Why the primary did not serve it; `None` if it did.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.outcome.reason.map(|reason| reason.as_str())
    }

    /// Seconds since the value was last known to be current.
    #[getter]
    fn age(&self) -> f64 {
        self.outcome.age.as_secs_f64()
    }

    /// How many attempts were sent to nodes.
    #[getter]
    fn attempts(&self) -> u32 {
        self.outcome.attempts
    }

    /// Whether another caller's work served this one.
    #[getter]
    fn coalesced(&self) -> bool {
        self.outcome.coalesced
    }

    /// `host:port` of the node that answered; `None` for the other sources.
    #[getter]
    fn node(&self) -> Option<String> {
        self.outcome.node.as_ref().map(ToString::to_string)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let text = |value: Option<&str>| value.map_or_else(|| "None".to_owned(), |v| format!("'{v}'"));
        Ok(format!(
            "Outcome(value={}, served_by='{}', reason={}, age={:.3}, attempts={}, coalesced={}, node={})",
            self.value.bind(py).repr()?,
            self.served_by(),
            text(self.reason()),
            self.age(),
            self.attempts(),
            if self.coalesced() { "True" } else { "False" },
            text(self.node().as_deref()),
        ))
    }
}
