"""Lua scripts that change jobs and their owners in Redis atomically (see shared/jobs.py)."""

from __future__ import annotations

LOOK = """
-- KEYS: this gateway's lease, all gateways, the ids of its jobs to be cancelled.
-- ARGV: the gateway, lease in ms, prefix of lease keys, retention in ms.
-- Returns whether its lease was valid, the ids to cancel, and the gateways whose leases ended.
local held = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local gone = {}
for _, other in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if redis.call('EXISTS', ARGV[3] .. other) == 0 then gone[#gone + 1] = other end
end
return {held, redis.call('SMEMBERS', KEYS[3]), gone}
"""

TELL = """
-- Stores one job: a hash of token, by (gateway), record, over, needs (shared uploads), tenant and, maybe, cancel.
-- KEYS: it, its uploads, the gateway's jobs by age, its cancels; lists by age: of all, the tenant's, maybe a batch's.
-- ARGV: id, gateway, token, record, over, needs, created, retention in ms, tenant (a digest).
local token, by = unpack(redis.call('HMGET', KEYS[1], 'token', 'by'))
local mine = tonumber(ARGV[3])
if token and (tonumber(token) > mine or (tonumber(token) == mine and by ~= ARGV[2])) then
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('SREM', KEYS[4], ARGV[1])
    return 'taken'
end
redis.call('HSET', KEYS[1], 'token', mine, 'by', ARGV[2], 'record', ARGV[4], 'over', ARGV[5], 'needs', ARGV[6],
    'tenant', ARGV[9])
redis.call('PEXPIRE', KEYS[1], ARGV[8])
local now = redis.call('TIME')[1]
for i = 5, #KEYS do
    redis.call('ZADD', KEYS[i], ARGV[7], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - 2 * ARGV[8] / 1000)
    redis.call('PEXPIRE', KEYS[i], ARGV[8])
end
if ARGV[5] == '1' then
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('SREM', KEYS[4], ARGV[1])
    redis.call('DEL', KEYS[2])
    return 'told'
end
local lacking = ARGV[6] == '1' and redis.call('PEXPIRE', KEYS[2], ARGV[8]) == 0
if not lacking then
    redis.call('ZADD', KEYS[3], ARGV[7], ARGV[1])
    redis.call('PEXPIRE', KEYS[3], ARGV[8])
end
if redis.call('HEXISTS', KEYS[1], 'cancel') == 1 then return 'cancelled' end
return lacking and 'lacking' or 'told'
"""

RESERVE = """
-- One Idempotency-Key: a hash of id (of its job), told (the id, signed), asked (a fingerprint), token and since.
-- KEYS: it. ARGV: id, told, asked, seconds that a key is valid, prefix of job keys, retention in ms.
-- Returns the signed id and the token under which the caller may accept the job; nothing if the job is known.
local id, told, asked, since = unpack(redis.call('HMGET', KEYS[1], 'id', 'told', 'asked', 'since'))
local now = redis.call('TIME')[1]
local stands = id and since + ARGV[4] > tonumber(now)
if stands and redis.call('EXISTS', ARGV[5] .. id) == 1 then return {} end
if stands and asked == ARGV[3] then return {told, redis.call('HINCRBY', KEYS[1], 'token', 1)} end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'told', ARGV[2], 'asked', ARGV[3], 'token', 1, 'since', now)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return {ARGV[2], 1}
"""

REMIND = """
-- Restores a lost Idempotency-Key. KEYS: it. ARGV: id, told, asked, token, since, retention in ms.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'told', ARGV[2], 'asked', ARGV[3], 'token', ARGV[4], 'since', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""

CANCEL = """
-- KEYS: a job. ARGV: its id, prefix of cancel keys, their retention in ms.
-- The mark stays with the job if it is taken over; the gateway that owns it now is notified.
local by, over = unpack(redis.call('HMGET', KEYS[1], 'by', 'over'))
if not by or over == '1' then return 0 end
redis.call('HSET', KEYS[1], 'cancel', '1')
redis.call('SADD', ARGV[2] .. by, ARGV[1])
redis.call('PEXPIRE', ARGV[2] .. by, ARGV[3])
return 1
"""

TAKE = """
-- KEYS: a gateway's lease, its jobs by age, this gateway's jobs by age, all gateways.
-- ARGV: the gateway, this one, how many at most, prefixes of job and of upload keys, retention in ms, spared tenants...
-- Jobs of spared tenants, and those whose uploads are needed but not shared, wait for their own gateway. Returns how
-- many were taken.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local ids = redis.call('ZRANGE', KEYS[2], 0, ARGV[3] - 1, 'WITHSCORES')
if #ids == 0 then redis.call('SREM', KEYS[4], ARGV[1]) end
local spared, taken = {}, 0
for i = 7, #ARGV do spared[ARGV[i]] = true end
for i = 1, #ids, 2 do
    local job = ARGV[4] .. ids[i]
    local over, needs, tenant = unpack(redis.call('HMGET', job, 'over', 'needs', 'tenant'))
    redis.call('ZREM', KEYS[2], ids[i])
    if over == '0' and not spared[tenant] and (needs == '0' or redis.call('EXISTS', ARGV[5] .. ids[i]) == 1) then
        taken = taken + 1
        redis.call('HINCRBY', job, 'token', 1)
        redis.call('HSET', job, 'by', ARGV[2])
        redis.call('ZADD', KEYS[3], ids[i + 1], ids[i])
        redis.call('PEXPIRE', KEYS[3], ARGV[6])
    end
end
return taken
"""
