//! The scripts: their texts, and the names by which servers know them.

/// A script, and the name that servers know it by once they were sent its text: the SHA-1 of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it does.
    pub text: &'static str,
    /// For `EVALSHA`.
    pub sha: &'static str,
}

/// Takes a lease, unless there is one, of a key that is absent and that no writer holds.
///
/// `KEYS`: the lease, the key, the hold, the mark. `ARGV`: a token, the lease's time to live in milliseconds, and anything
/// if the key need not be absent, since its value is to be replaced. Returns the
/// token that stands there, and nil; or nil, and the value that the key has; or nil and nil, if it is held; and after them 1
/// if there is a mark, or 0. A server that takes no writes now says why, as to a `SET`.
pub const LEASE_SCRIPT: Script = Script {
    text: "-- failsoft lease 2
local function held(hold)
  if redis.call('EXISTS', hold) == 0 then return false end
  local time = redis.call('TIME')
  return redis.call('ZCOUNT', hold, '(' .. time[1] .. string.format('%03d', math.floor(time[2] / 1000)), '+inf') > 0
end
local value = redis.pcall('GET', KEYS[2])
if type(value) == 'table' then return value end
if value and not ARGV[3] then return {false, value, 0} end
local marked = redis.call('EXISTS', KEYS[4])
if held(KEYS[3]) then return {false, false, marked} end
local set = redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if type(set) == 'table' and set.err then return set end
return {redis.call('GET', KEYS[1]), false, marked}
",
    sha: "7cbb083c480145ee0abfb46c1326364fb97201f2",
};

/// Writes a loaded value, if its load's lease still stands, no writer holds the key, and it is absent, or has the value that
/// is to be replaced.
///
/// `KEYS`: the lease, the key, the hold. `ARGV`: the token, the value, its time to live in milliseconds, and the value that
/// is to be replaced, if any. Returns 1 if it was written, 0 if the lease is gone or the key is held, -1 if the key has
/// another value. A server that takes no writes now says
/// why, as to a `SET`.
pub const FILL_SCRIPT: Script = Script {
    text: "-- failsoft fill 2
local function held(hold)
  if redis.call('EXISTS', hold) == 0 then return false end
  local time = redis.call('TIME')
  return redis.call('ZCOUNT', hold, '(' .. time[1] .. string.format('%03d', math.floor(time[2] / 1000)), '+inf') > 0
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] or held(KEYS[3]) then return 0 end
if redis.pcall('GET', KEYS[2]) ~= (ARGV[4] or false) then return -1 end
local set = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if set.err then return set end
redis.call('DEL', KEYS[1])
return 1
",
    sha: "5c680e6389f0c46d64000bc72f8eeb0315940a78",
};

/// Sets a key, whatever was there, and deletes its lease; under a writer's hold it deletes the key instead: whoever wrote
/// that value may not have seen what the writer is about to commit.
///
/// `KEYS`: the lease, the key, the hold. `ARGV`: the value, its time to live in milliseconds, empty for ever. Returns 1 if it
/// was written, 0 if the key is held. A server that takes no writes now says why, as to a `SET`: so the `SET` comes first.
pub const PUT_SCRIPT: Script = Script {
    text: "-- failsoft put 1
local function held(hold)
  if redis.call('EXISTS', hold) == 0 then return false end
  local time = redis.call('TIME')
  return redis.call('ZCOUNT', hold, '(' .. time[1] .. string.format('%03d', math.floor(time[2] / 1000)), '+inf') > 0
end
if held(KEYS[3]) then
  redis.call('DEL', KEYS[1], KEYS[2])
  return 0
end
local set
if ARGV[2] == '' then
  set = redis.pcall('SET', KEYS[2], ARGV[1])
else
  set = redis.pcall('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
if set.err then return set end
redis.call('DEL', KEYS[1])
return 1
",
    sha: "c8f1d5632903fcfa4045830a1c839ffb05326502",
};

/// Prolongs a lease, if it still is the one that was taken: one that an invalidation has deleted does not come back.
///
/// `KEYS`: the lease. `ARGV`: the token, the time to live in milliseconds. Returns 1, or 0 if that lease is gone.
pub const PROLONG_SCRIPT: Script = Script {
    text: "-- failsoft prolong 1
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
",
    sha: "20210794b6bc4949cd793c2a568092048b1caa79",
};

/// Releases a lease of which nothing came, if it still is the one that was taken.
///
/// `KEYS`: the lease. `ARGV`: the token. Returns 1, or 0 if that lease is gone.
pub const RELEASE_SCRIPT: Script = Script {
    text: "-- failsoft release 1
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
",
    sha: "d051c9b42671bf367c2966334fdfc3f253206142",
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

/// A writer holds a key for so long, by the server's own clock: nobody takes a lease of it or writes a loaded value.
///
/// `KEYS`: the hold, a sorted set of writers by when each one's hold ends; it goes with the last of them. `ARGV`: the
/// writer's id, milliseconds. Returns 1. Of one key, so that it also runs where a slot is moved by hand.
pub const HOLD_SCRIPT: Script = Script {
    text: "-- failsoft hold 1
local time = redis.call('TIME')
local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local ends = string.format('%d', now + ARGV[2])
local add = redis.pcall('ZADD', KEYS[1], ends, ARGV[1])
if type(add) == 'table' and add.err then return add end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2])
return 1
",
    sha: "aed3b9869655212300d83ca127c0eb89f0c69e65",
};
