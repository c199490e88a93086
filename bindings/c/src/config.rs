//! Settings as C gives them: keys and values are texts. Keys, defaults and ranges come from the core, except for the
//! delivery, which is C's own, and for TLS, which the core takes as one value.

use crate::pointers::text;
use crate::status::{Failure, Status, guarded, guarded_or, text as to_c};
use failsoft::{Builder, ConfigError, Event, KeySpec, Router, SettingKind, Subject, Tls};
use std::ffi::{c_char, c_void};

/// The keys that the core does not have.
const OWN: &str = "delivery, tls, tls_ca_pem, tls_client_cert_pem, tls_client_key_pem, tls_server_name, \
                   tls_danger_accept_invalid_certs";

/// Settings of a router. Opaque. Only one thread at a time may use it.
pub struct Config {
    builder: Builder,
    tls: TlsSettings,
    delivery: Delivery,
}

/// How callbacks reach the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Threads,
    Fd,
}

#[derive(Default)]
struct TlsSettings {
    on: bool,
    ca: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
    server_name: Option<String>,
    accept_invalid: bool,
}

impl TlsSettings {
    /// The core's value for these settings; none if TLS is off.
    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let Self { on, ca, client_cert, client_key, server_name, accept_invalid } = self;
        if !on {
            let given = [
                ("tls_ca_pem", ca.is_some()),
                ("tls_client_cert_pem", client_cert.is_some()),
                ("tls_client_key_pem", client_key.is_some()),
                ("tls_server_name", server_name.is_some()),
                ("tls_danger_accept_invalid_certs", *accept_invalid),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((key, _)) => Err(ConfigError::new(*key, "needs `tls` to be true")),
                None => Ok(None),
            };
        }
        let mut tls = Tls::new();
        if let Some(pem) = ca {
            tls = tls.ca_pem(pem.as_str());
        }
        match (client_cert, client_key) {
            (Some(chain), Some(key)) => tls = tls.client_pem(chain.as_str(), key.as_str()),
            (None, None) => {}
            (Some(_), None) => return Err(ConfigError::new("tls_client_cert_pem", "needs `tls_client_key_pem`")),
            (None, Some(_)) => return Err(ConfigError::new("tls_client_key_pem", "needs `tls_client_cert_pem`")),
        }
        if let Some(name) = server_name {
            tls = tls.server_name(name);
        }
        Ok(Some(if *accept_invalid { tls.danger_accept_invalid_certs() } else { tls }))
    }
}

impl Config {
    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let or_off = || (!value.is_empty()).then(|| value.to_owned());
        match key {
            "delivery" => self.delivery = delivery(value)?,
            "tls" => self.tls.on = yes_or_no(key, value)?,
            "tls_ca_pem" => self.tls.ca = or_off(),
            "tls_client_cert_pem" => self.tls.client_cert = or_off(),
            "tls_client_key_pem" => self.tls.client_key = or_off(),
            "tls_server_name" => self.tls.server_name = or_off(),
            "tls_danger_accept_invalid_certs" => self.tls.accept_invalid = yes_or_no(key, value)?,
            _ => {
                // Checked beforehand: the builder would keep its first problem until it is built.
                failsoft::Config::default().set_text(key, value).map_err(|mut error| {
                    if !failsoft::Config::KEYS.iter().any(|spec| is_key_of(key, spec)) {
                        error.problem = format!("{}, {OWN}", error.problem);
                    }
                    error
                })?;
                self.builder = self.builder.clone().set_text(key, value);
            }
        }
        Ok(())
    }

    /// The core's settings for a router, and how its callbacks are delivered.
    pub(crate) fn router(&self) -> Result<(Builder, Delivery), ConfigError> {
        let builder = self.builder.clone();
        let builder = match self.tls.tls()? {
            Some(tls) => builder.tls(tls),
            None => builder,
        };
        Ok((builder, self.delivery))
    }
}

/// Called for events that an operator may want to log or count, at most once a second for each `kind`:
///
/// - "no_view": no cluster is found; failsoft_health has what the nodes said instead;
/// - "node_down", "node_up": nodes get no reads any more, or get them again;
/// - "verdict": judging by the views of several nodes, some nodes are now on another side of a partition (majority,
///   minority or unknown) than before;
/// - "fill_failed": loaded values were not written back;
/// - "store_down", "store_up": the breaker of the program's own store has opened ("failing" or "slow"): loads are shed; or
///   it has closed again;
/// - "store_slow", "store_fast": that store is slow, so that reads make fewer retries and equal ones share their requests; or
///   it is fast again;
/// - "panicked": a defect in the background of the library, which continues.
///
/// `count` is how often it happened since the last call for this kind. `text` names the nodes and the reasons, as in
/// "127.0.0.1:7000 timeout, 127.0.0.1:7001 connection"; it is empty for "panicked", "store_up", "store_slow" and "store_fast". Both texts are valid only during
/// the call.
///
/// With either delivery it is called on the library's I/O thread. So it must not block, must not call this library, and
/// must neither throw nor jump out. It is not called after failsoft_router_close has returned.
pub type OnEvent =
    Option<unsafe extern "C" fn(kind: *const c_char, count: u64, text: *const c_char, event_data: *mut c_void)>;

/// The program's function for events.
struct Listener {
    on_event: unsafe extern "C" fn(*const c_char, u64, *const c_char, *mut c_void),
    event_data: *mut c_void,
}

// SAFETY: the header says that it is called on a thread of the library.
unsafe impl Send for Listener {}
// SAFETY: that thread is one.
unsafe impl Sync for Listener {}

impl Listener {
    fn call(&self, event: &Event) {
        let subject = |subject: &Subject| match (&subject.node, subject.word) {
            (Some(node), Some(word)) => format!("{node} {word}"),
            (Some(node), None) => node.to_string(),
            (None, word) => word.unwrap_or_default().to_owned(),
        };
        let subjects: Vec<_> = event.subjects.iter().map(subject).collect();
        let (kind, text) = (to_c(event.kind.as_str()), to_c(&subjects.join(", ")));
        // SAFETY: the program gave the function and its data for this call.
        unsafe { (self.on_event)(kind.as_ptr(), event.count, text.as_ptr(), self.event_data) };
    }
}

fn is_key_of(key: &str, spec: &KeySpec) -> bool {
    match spec.kind {
        SettingKind::Duration { .. } => key.strip_suffix("_ms") == Some(spec.name),
        _ => key == spec.name,
    }
}

fn delivery(value: &str) -> Result<Delivery, ConfigError> {
    match value {
        "threads" => Ok(Delivery::Threads),
        "fd" => Ok(Delivery::Fd),
        _ => Err(ConfigError::new("delivery", format!("{value:?} is not allowed; allowed: threads or fd"))),
    }
}

fn yes_or_no(key: &str, value: &str) -> Result<bool, ConfigError> {
    let problem = || ConfigError::new(key, format!("{value:?} is not allowed; allowed: true or false"));
    value.parse().map_err(|_| problem())
}

/// Makes default settings for a router whose seed nodes are `nodes`, separated by commas; one that answers is enough.
/// Each is `host:port`, `[v6]:port`, `redis://user:password@host:port` or `valkey://...`, with TLS `rediss://...` or
/// `valkeys://...`; the port defaults to 6379. The addresses are checked by failsoft_router_open.
///
/// The caller frees the settings with failsoft_config_free. NULL if `nodes` is NULL or not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_config_new(nodes: *const c_char) -> Option<Box<Config>> {
    guarded_or(None, || {
        // SAFETY: `nodes` is a text, as the header says.
        let nodes = unsafe { text("nodes", nodes) }?;
        let builder = Router::builder([nodes]);
        Ok(Some(Box::new(Config { builder, tls: TlsSettings::default(), delivery: Delivery::Threads })))
    })
}

/// Sets one key to a value, both texts. Durations are numbers of milliseconds, and their keys end in `_ms`.
///
/// "" turns off what can be off: `soft_load_timeout_ms`, `negative_ttl_ms`, `failure_pause_ms`, `lease_ttl_ms`, `slo_ms`, `address_map`,
/// `username`, `password`, `client_name`, and of the keys below those that take a PEM text or a name. The word "off" does
/// the same for `soft_load_timeout_ms`, `negative_ttl_ms`, `failure_pause_ms`, `lease_ttl_ms`, `slo_ms` and `address_map`. As a `username`,
/// `password` or `client_name` it is a text like any other: the password is then "off".
///
/// Keys: `max_retries` (3), `max_redirects` (5), `base_backoff_ms` (50), `attempt_timeout_ms` (250), `deadline_ms`
/// (1000), `connect_timeout_ms` (500), `slot_refresh_interval_ms` (15000), `staleness_budget_ms` (2000),
/// `outage_budget_ms` (30000), `near_cache_bytes` (0), `standin_bytes` (67108864), `fill` (true), `fill_ttl_ms` (300000),
/// `ttl_jitter` (0.1), `early_refresh` (0), `verify_sample` (0), `invalidation_ttl_ms` (60000),
/// `trust_window_ms` (1000), `invalidate_durability` (replica), `hold_ms` (10000), `eviction_events` (false), `load_timeout_ms` (10000),
/// `soft_load_timeout_ms` (off), `negative_ttl_ms` (off), `failure_pause_ms` (off), `lease_ttl_ms` (off), `coalesce` (loads), `slo_ms` (50), `max_concurrent_loads`
/// (256), `max_in_flight` (10000), `address_map` (`from=to,...`), `username`, `password`, `client_name`. The README says
/// what they mean. These exist only in C:
///
/// - `delivery`: `threads` (the default) or `fd`; see failsoft_router_open.
/// - `tls` (false): encrypts all connections. Only with it: `tls_ca_pem` (authorities to trust instead of Mozilla's),
///   `tls_client_cert_pem` and `tls_client_key_pem` (both or neither), all three as PEM text, not as file names;
///   `tls_server_name` (the name that the servers' certificates are for, if it is not the host's);
///   `tls_danger_accept_invalid_certs` (false).
///
/// FAILSOFT_CONFIG: an unknown key, or a value that is not allowed; the setting keeps its old value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn failsoft_config_set(
    config: Option<&mut Config>,
    key: *const c_char,
    value: *const c_char,
) -> Status {
    guarded(|| {
        let config = config.ok_or_else(|| Failure::null("config"))?;
        // SAFETY: both are texts, as the header says.
        let (key, value) = unsafe { (text("key", key)?, text("value", value)?) };
        Ok(config.set(key, value)?)
    })
}

/// Sets the function that is called for events of routers opened with these settings; see failsoft_on_event.
/// `event_data` is passed to each call and has to stay valid until those routers are closed. If `on_event` is NULL:
/// FAILSOFT_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_config_on_event(
    config: Option<&mut Config>,
    on_event: OnEvent,
    event_data: *mut c_void,
) -> Status {
    guarded(|| {
        let config = config.ok_or_else(|| Failure::null("config"))?;
        let on_event = on_event.ok_or_else(|| Failure::null("on_event"))?;
        let listener = Listener { on_event, event_data };
        config.builder = config.builder.clone().observer(move |event| listener.call(event));
        Ok(())
    })
}

/// Frees settings. Routers opened with them are not affected. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn failsoft_config_free(config: Option<Box<Config>>) {
    drop(config);
}

#[cfg(test)]
mod tests {
    use super::*;
    use failsoft::Setting;

    #[test]
    fn the_header_names_every_key_of_the_core_with_its_default() {
        let source = include_str!("config.rs").replace("\n/// ", " ");
        for KeySpec { name, kind, default, .. } in failsoft::Config::KEYS {
            let listed = match (kind, default) {
                (_, Setting::Duration(default)) => format!("`{name}_ms` ({})", default.as_millis()),
                (SettingKind::Duration { .. }, Setting::Off) => format!("`{name}_ms` (off)"),
                (_, Setting::Off) => format!("`{name}`"),
                (_, default) => format!("`{name}` ({default})"),
            };
            assert!(source.contains(&listed), "{listed} is missing");
        }
    }
}
