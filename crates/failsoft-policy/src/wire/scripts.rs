//! The scripts: their texts, and the names by which servers know them.

/// A script, and the name that servers know it by once they were sent its text: the SHA-1 of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it does.
    pub text: &'static str,
    /// For `EVALSHA`.
    pub sha: &'static str,
}

/// Takes a lease, unless there is one, of a key that is absent.
///
/// `KEYS`: the lease, the key. `ARGV`: a token, the lease's time to live in milliseconds. Returns the token that stands
/// there, and nil; or nil, and the value that the key has. A server that takes no writes now says why, as to a `SET`.
pub const LEASE_SCRIPT: Script = Script {
    text: "-- failsoft lease 1
local value = redis.pcall('GET', KEYS[2])
if type(value) == 'table' then return value end
if value then return {false, value} end
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if type(set) == 'table' and set.err then return set end
return {redis.call('GET', KEYS[1]), false}
",
    sha: "f9a7830bc1d1c6a01016b59206d9b44ee6d4fbad",
};

/// Writes a loaded value, if its load's lease still stands and the key is absent.
///
/// `KEYS`: the lease, the key. `ARGV`: the token, the value, its time to live in milliseconds. Returns 1 if it was
/// written, 0 if the lease is gone, -1 if the key has a value. A server that takes no writes now says why, as to a `SET`.
pub const FILL_SCRIPT: Script = Script {
    text: "-- failsoft fill 1
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local set = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if set.err then return set end
redis.call('DEL', KEYS[1])
return 1
",
    sha: "de674b279e04c83d4e2bf64cafacd8141f8d7567",
};

/// Invalidates a key: its lease and the key go, a mark is left, and the bell is rung.
///
/// `KEYS`: the lease, the key, the mark, the bell. `ARGV`: the invalidation's id, the owner's config epoch, the mark's
/// time to live in milliseconds. Returns 1. A server without memory takes what follows a deletion, and none of it is
/// needed: a mark that is lost is never unsafe.
pub const INVALIDATE_SCRIPT: Script = Script {
    text: "-- failsoft invalidate 1
redis.call('DEL', KEYS[1], KEYS[2])
local time = redis.call('TIME')
local mark = '1 ' .. ARGV[1] .. ' ' .. time[1] .. string.format('%06d', time[2]) .. ' ' .. ARGV[2]
redis.pcall('SET', KEYS[3], mark, 'PX', ARGV[3])
redis.pcall('SET', KEYS[4], '1', 'PX', ARGV[3])
redis.pcall('DEL', KEYS[4])
return 1
",
    sha: "e817fd63f15af1a035f01ac3d026015f931d2062",
};

/// Leaves a mark and rings the bell, for the echo of an invalidation in another slot.
///
/// `KEYS`: the mark, the bell. `ARGV` as above. Returns 1.
pub const MARK_SCRIPT: Script = Script {
    text: "-- failsoft mark 1
redis.call('DEL', KEYS[2])
local time = redis.call('TIME')
local mark = '1 ' .. ARGV[1] .. ' ' .. time[1] .. string.format('%06d', time[2]) .. ' ' .. ARGV[2]
local set = redis.pcall('SET', KEYS[1], mark, 'PX', ARGV[3])
if set.err then return set end
redis.pcall('SET', KEYS[2], '1', 'PX', ARGV[3])
redis.pcall('DEL', KEYS[2])
return 1
",
    sha: "5ad67c5ce6e164df3e150255dfd08dcafb90734f",
};
