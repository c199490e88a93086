//! Writers: keys that are held around a transaction of the program's own store, or for a while after it.

use crate::entries::{Entry, Then};
use crate::many::keys_of;
use crate::pointers::needed;
use crate::router::Router;
use crate::status::{Failure, Status, guarded};
use crate::writes::OnDone;
use failsoft::MAX_INVALIDATED;
use failsoft::foreign::Inside;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;
