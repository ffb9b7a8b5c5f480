//! The writes, each a script: compare and set, with the time to live in the same step.
//!
//! All see the same layout as [`layout`](super::layout), and answer with a letter, the tag of the key, and what else the
//! letter says: an answer that belongs to another request is noticed here too.
//! Numbers of eight bytes are compared as bytes: Lua's own numbers are not exact, and its comparison of texts depends on
//! the server's language.

use redis::Script;
use std::sync::LazyLock;

/// What all begin with. `head` gives the head of a readable entry and under whom it is listed, or nothing.
const COMMON: &str = r"
local KEY, TAG, NOW = KEYS[1], ARGV[1], ARGV[2]
local function less(a, b)
  for i = 1, 8 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return false
end
local function head()
  local h = redis.pcall('GETRANGE', KEY, 0, 81)
  if type(h) ~= 'string' or #h < 34 or string.byte(h) ~= 1 or string.sub(h, 2, 17) ~= TAG then return nil end
  local flag = string.byte(h, 34)
  if flag == 0 then return h, '' end
  if flag == 1 and #h == 82 then return h, string.sub(h, 35, 82) end
  return nil
end
local function passed(h) return less(string.sub(h, 26, 33), NOW) end
";

/// `TAG now px value`: *D*one, or *C*onflict with a live entry. What is no entry is written over.
const CREATE: &str = r"
local h = head()
if h and not passed(h) then return 'C' .. TAG end
redis.call('SET', KEY, ARGV[4], 'PX', ARGV[3])
return 'D' .. TAG
";

/// `TAG now px expected beginning deadline owner listing bytes`: *D*one, *C*onflict, *G*one, or *L*ist it first, because
/// the owner is another or is not listed for long enough. What is no longer listed comes with the answer.
const REPLACE: &str = r"
local h, old = head()
if not h then return 'G' .. TAG end
if passed(h) then
  redis.call('DEL', KEY)
  return 'G' .. TAG .. old
end
if string.sub(h, 18, 25) ~= ARGV[4] then return 'C' .. TAG end
local owner, listing, mark = ARGV[7], ARGV[8], '\0'
if owner ~= '' then
  if listing == '' then
    if string.sub(old, 1, 32) ~= owner or less(string.sub(old, 41, 48), ARGV[6]) then return 'L' .. TAG .. old end
    listing = string.sub(old, 33, 48)
  end
  mark = '\1' .. owner .. listing
end
redis.call('SET', KEY, ARGV[5] .. mark .. ARGV[9], 'PX', ARGV[3])
if string.sub(old, 1, 40) == owner .. string.sub(listing, 1, 8) then old = '' end
return 'D' .. TAG .. old
";

/// `TAG now`: removes an entry that has expired, *G*one; or else it is a *V*alue after all.
const EXPIRE: &str = r"
local h, old = head()
if not h then return 'G' .. TAG end
if passed(h) then
  redis.call('DEL', KEY)
  return 'G' .. TAG .. old
end
return 'V' .. TAG .. redis.call('GETRANGE', KEY, 0, 1048658)
";

/// `TAG`: *G*one, whatever it was.
const DELETE: &str = r"
local h, old = head()
redis.call('DEL', KEY)
return 'G' .. TAG .. (old or '')
";

/// `TAG cutoff score ttl member`, on the set of an owner: lists a member, *D*one. Some that nobody listed for longer than
/// the cutoff go; a listing never gets shorter, nor does the life of the set.
const ENLIST: &str = r"
local dead = redis.call('ZRANGEBYSCORE', KEY, '-inf', '(' .. NOW, 'LIMIT', 0, 64)
if #dead > 0 then redis.call('ZREM', KEY, unpack(dead)) end
local score = redis.call('ZSCORE', KEY, ARGV[5])
if not score or tonumber(score) < tonumber(ARGV[3]) then redis.call('ZADD', KEY, ARGV[3], ARGV[5]) end
if redis.call('PTTL', KEY) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEY, ARGV[4]) end
return 'D' .. TAG
";

/// A script, and the name by which servers know it once they have seen it.
#[derive(Debug)]
pub(super) struct Lua {
    pub(super) code: String,
    pub(super) hash: String,
}

impl Lua {
    fn new(body: &str) -> Self {
        let code = format!("{COMMON}{body}");
        let hash = Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }
}

pub(super) static CREATING: LazyLock<Lua> = LazyLock::new(|| Lua::new(CREATE));
pub(super) static REPLACING: LazyLock<Lua> = LazyLock::new(|| Lua::new(REPLACE));
pub(super) static EXPIRING: LazyLock<Lua> = LazyLock::new(|| Lua::new(EXPIRE));
pub(super) static DELETING: LazyLock<Lua> = LazyLock::new(|| Lua::new(DELETE));
pub(super) static ENLISTING: LazyLock<Lua> = LazyLock::new(|| Lua::new(ENLIST));
