"""What the store does in one step for several servers: Lua scripts, atomic by themselves, on the store's own clock.

All keys of a script share a hash tag, so that they lie together in a cluster. Each script is sent whole: a store that
was restarted knows none.

``rates`` is a hash: the requests and tokens used, as two buckets that drain, and ``at``, when they were last looked at.
``running`` is a sorted set: running requests, by the moment at which each counts as dead if its server says no more.
``unanswered`` is a sorted set of one server: the numbers of requests that it may not know to have been let in.
"""

from __future__ import annotations

from typing import Final

# A clock that went back, as after a change of the store's machine, drains nothing once.
_LEVELS: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local function levels(rates, requests_limit, tokens_limit)
  local held = redis.call('HMGET', rates, 'requests', 'tokens', 'at')
  local passed = math.max(0, now - (tonumber(held[3]) or now))
  local function level(used, limit)
    if limit == '' then return 0 end
    return math.max(0, (tonumber(used) or 0) - passed * limit / 60)
  end
  return level(held[1], requests_limit), level(held[2], tokens_limit)
end
local function keep(rates, requests, requests_limit, tokens, tokens_limit)
  if requests_limit == '' and tokens_limit == '' then return end
  local number = '%.17g'
  redis.call('HSET', rates, 'requests', number:format(requests), 'tokens', number:format(tokens),
    'at', number:format(now))
  local function drained(used, limit) return limit == '' and 0 or used * 60 / limit end
  local seconds = math.max(drained(requests, requests_limit), drained(tokens, tokens_limit))
  redis.call('EXPIRE', rates, math.min(math.ceil(seconds) + 60, 31536000))
end
"""

#: Let a request in, or name the limit that keeps it out.
#:
#: KEYS: rates, running, unanswered. ARGV: requests a minute, tokens a minute, requests at the same time, each empty
#: where unlimited; tokens that are not charged yet; the lease's id and seconds; the request's number, or 0 only to ask;
#: the first number that has no answer yet. Returns the limit or an empty string, and the requests and tokens used.
ADMIT: Final = (
    _LEVELS
    + """
local requests, tokens = levels(KEYS[1], ARGV[1], ARGV[2])
if ARGV[2] ~= '' then tokens = tokens + ARGV[4] end
local refused = ''
if ARGV[1] ~= '' and requests + 1 > tonumber(ARGV[1]) then
  refused = 'requests_per_minute'
elseif ARGV[2] ~= '' and tokens + 1 > tonumber(ARGV[2]) then
  refused = 'tokens_per_minute'
elseif ARGV[3] ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then refused = 'concurrent_requests_per_key' end
end
if refused == '' and ARGV[7] ~= '0' then
  if ARGV[1] ~= '' then
    requests = requests + 1
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[8])
    redis.call('ZADD', KEYS[3], ARGV[7], ARGV[7])
    redis.call('EXPIRE', KEYS[3], 60)
  end
  if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[2], now + ARGV[6], ARGV[5])
    redis.call('EXPIRE', KEYS[2], math.ceil(ARGV[6]) + 1)
  end
end
keep(KEYS[1], requests, ARGV[1], tokens, ARGV[2])
return {refused, tostring(requests), tostring(tokens)}
"""
)

#: Charge tokens, and end a lease.
#:
#: KEYS: rates, running. ARGV: requests a minute, tokens a minute, tokens used, the lease's id or an empty string.
SETTLE: Final = (
    _LEVELS
    + """
if ARGV[4] ~= '' then redis.call('ZREM', KEYS[2], ARGV[4]) end
if ARGV[2] ~= '' and ARGV[3] ~= '0' then
  local requests, tokens = levels(KEYS[1], ARGV[1], ARGV[2])
  keep(KEYS[1], requests, ARGV[1], tokens + ARGV[3], ARGV[2])
end
"""
)

#: Take back a request that the store may have let in without the server having learnt of it.
#:
#: KEYS: rates, running, unanswered. ARGV: requests a minute, tokens a minute, the request's number, the lease's id.
FORGET: Final = (
    _LEVELS
    + """
if ARGV[4] ~= '' then redis.call('ZREM', KEYS[2], ARGV[4]) end
if redis.call('ZREM', KEYS[3], ARGV[3]) == 1 then
  local requests, tokens = levels(KEYS[1], ARGV[1], ARGV[2])
  keep(KEYS[1], math.max(0, requests - 1), ARGV[1], tokens, ARGV[2])
end
"""
)

#: Say that requests still run. A store that has forgotten them learns of them anew.
#:
#: KEYS: running. ARGV: seconds, and the leases' ids.
RENEW: Final = """
local time = redis.call('TIME')
local expires = time[1] + time[2] / 1e6 + ARGV[1]
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], expires, ARGV[index]) end
redis.call('EXPIRE', KEYS[1], math.ceil(ARGV[1]) + 1)
"""

#: Do what the other scripts do, where nothing depends on it.
PROBE: Final = """
redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1])
redis.call('DEL', KEYS[1])
"""
