"""The Lua scripts that the store runs for several servers. Each is atomic, and uses the store's own clock.

A server without a store decides the same in Python: `ADMIT` is `cc_serve.api.tenants.memory.MemoryLimiter`, and
``levels`` is `cc_serve.api.tenants.rates.Meter`. ``tests/cc_serve/api/tenants/test_twins.py`` runs the same cases
through both. What a refusal says is written once, in `cc_serve.api.tenants.limiter`.

All keys of a script share a hash tag, so that a cluster has them on one machine. Each script is sent whole, since a
store that was restarted knows none.

``rates`` is a hash: the requests and tokens used, as two buckets that drain, and ``at``, when they were last updated.
``running`` is a sorted set: the leases of running requests, by the moment at which each ends unless its server renews
it. It outlives the longest lease in it, since servers may have leases of different lengths.
``day`` and ``month`` are hashes: the requests and tokens that count against budgets.
``unanswered`` is a sorted set of one server: the numbers of requests that were let in, perhaps without the server
having learnt of it.
"""

from __future__ import annotations

from typing import Final

# If the clock has gone back, as it may on another machine of the store, nothing drains this once.
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
local function spend(kind, amount)
  redis.call('HINCRBY', KEYS[4], kind, amount)
  redis.call('EXPIRE', KEYS[4], 172800)
  redis.call('HINCRBY', KEYS[5], kind, amount)
  redis.call('EXPIRE', KEYS[5], 3456000)
end
"""

#: Let a request in, or name the limit that keeps it out.
#:
#: KEYS: rates, running, unanswered, day, month. ARGV: 1 if there is a budget; requests a minute, tokens a minute, and
#: requests at the same time, each empty if unlimited; tokens that are not charged yet; the lease's id and seconds; the
#: request's number, or 0 to ask without letting it in; the smallest number that has no answer yet; requests a day,
#: tokens a day, and the same for a month. Returns the limit, or an empty string; and the requests and tokens used.
ADMIT: Final = (
    _LEVELS
    + """
local budget = ARGV[1] == '1'
local requests, tokens = levels(KEYS[1], ARGV[2], ARGV[3])
if ARGV[3] ~= '' then tokens = tokens + ARGV[5] end
if budget and ARGV[5] ~= '0' then spend('tokens', ARGV[5]) end
local function overspent(key, kind, limit)
  return limit ~= '' and (tonumber(redis.call('HGET', key, kind)) or 0) >= tonumber(limit)
end
local function refusal()
  if ARGV[2] ~= '' and requests + 1 > tonumber(ARGV[2]) then return 'requests_per_minute' end
  if ARGV[3] ~= '' and tokens + 1 > tonumber(ARGV[3]) then return 'tokens_per_minute' end
  if budget then
    if overspent(KEYS[4], 'requests', ARGV[10]) then return 'requests_per_day' end
    if overspent(KEYS[4], 'tokens', ARGV[11]) then return 'tokens_per_day' end
    if overspent(KEYS[5], 'requests', ARGV[12]) then return 'requests_per_month' end
    if overspent(KEYS[5], 'tokens', ARGV[13]) then return 'tokens_per_month' end
  end
  if ARGV[4] ~= '' then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 'concurrent_requests_per_key' end
  end
  return ''
end
local refused = refusal()
if refused == '' and ARGV[8] ~= '0' then
  if ARGV[2] ~= '' then requests = requests + 1 end
  if budget then spend('requests', 1) end
  if ARGV[2] ~= '' or budget then
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ARGV[9])
    redis.call('ZADD', KEYS[3], ARGV[8], ARGV[8])
    redis.call('EXPIRE', KEYS[3], budget and 86400 or 60)
  end
  if ARGV[4] ~= '' then
    redis.call('ZADD', KEYS[2], now + ARGV[7], ARGV[6])
    redis.call('EXPIRE', KEYS[2], math.max(math.ceil(ARGV[7]) + 1, redis.call('TTL', KEYS[2])))
  end
end
keep(KEYS[1], requests, ARGV[2], tokens, ARGV[3])
return {refused, tostring(requests), tostring(tokens)}
"""
)

#: Charge tokens, and end a lease.
#:
#: KEYS: as for ADMIT. ARGV: 1 if there is a budget; requests a minute, tokens a minute, tokens used, the lease's id or
#: an empty string.
SETTLE: Final = (
    _LEVELS
    + """
if ARGV[5] ~= '' then redis.call('ZREM', KEYS[2], ARGV[5]) end
if ARGV[4] == '0' then return end
if ARGV[1] == '1' then spend('tokens', ARGV[4]) end
if ARGV[3] ~= '' then
  local requests, tokens = levels(KEYS[1], ARGV[2], ARGV[3])
  keep(KEYS[1], requests, ARGV[2], tokens + ARGV[4], ARGV[3])
end
"""
)

#: Take back a request that the store may have let in without the server having learnt of it.
#:
#: KEYS: as for ADMIT. ARGV: 1 if there is a budget; requests a minute, tokens a minute, the request's number, the
#: lease's id.
FORGET: Final = (
    _LEVELS
    + """
if ARGV[5] ~= '' then redis.call('ZREM', KEYS[2], ARGV[5]) end
if redis.call('ZREM', KEYS[3], ARGV[4]) == 1 then
  if ARGV[1] == '1' then spend('requests', -1) end
  local requests, tokens = levels(KEYS[1], ARGV[2], ARGV[3])
  keep(KEYS[1], math.max(0, requests - 1), ARGV[2], tokens, ARGV[3])
end
"""
)

#: Renew the leases of running requests. A store that has lost them learns of them anew.
#:
#: KEYS: running. ARGV: seconds, and the leases' ids.
RENEW: Final = """
local time = redis.call('TIME')
local expires = time[1] + time[2] / 1e6 + ARGV[1]
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], expires, ARGV[index]) end
redis.call('EXPIRE', KEYS[1], math.max(math.ceil(ARGV[1]) + 1, redis.call('TTL', KEYS[1])))
"""

#: Do what the other scripts do, to a key that nothing depends on.
PROBE: Final = """
redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1])
redis.call('DEL', KEYS[1])
"""

#: Add a batch of the usage; a second time, it adds nothing. Returns the fields that cannot be added to, since another
#: program wrote to them. Only these are lost, since a script that fails undoes nothing.
#:
#: KEYS: the part, and days. ARGV: seconds to keep a day; then for each number the day's place in KEYS, field, amount.
ADD_USAGE: Final = """
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', 86400) then return {} end
local lost = {}
for index = 2, #ARGV, 3 do
  local sum = redis.pcall('HINCRBY', KEYS[tonumber(ARGV[index])], ARGV[index + 1], ARGV[index + 2])
  if type(sum) == 'table' and sum.err then table.insert(lost, ARGV[index + 1]) end
end
for index = 2, #KEYS do redis.call('EXPIRE', KEYS[index], ARGV[1]) end
return lost
"""
