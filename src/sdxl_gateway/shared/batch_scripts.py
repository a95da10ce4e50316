"""Lua scripts that change batches and their owners in Redis atomically (see shared/batches.py)."""

from __future__ import annotations

TELL = """
-- Stores one batch: a hash of token, by (gateway), record, over (finished) and, if asked for, cancel.
-- KEYS: the batch, its requests, unfinished batches, all by age, its tenant's, the gateway's finished ones, its jobs.
-- ARGV: id, gateway, token, record, over, whether its requests have to be shared, created, retention in ms,
-- now, prefix of job keys, retention of its jobs after it is finished in ms.
local token, by, over = unpack(redis.call('HMGET', KEYS[1], 'token', 'by', 'over'))
local mine = tonumber(ARGV[3])
if token and (tonumber(token) > mine or (tonumber(token) == mine and by ~= ARGV[2])) then return 'taken' end
redis.call('HSET', KEYS[1], 'token', mine, 'by', ARGV[2], 'record', ARGV[4], 'over', ARGV[5])
for i = 3, 5 do redis.call('ZADD', KEYS[i], ARGV[7], ARGV[1]) end
if ARGV[5] == '1' then
    redis.call('ZREM', KEYS[3], ARGV[1])
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[6], ARGV[1], ARGV[9])
end
for _, key in ipairs({1, 3, 4, 5, 6}) do redis.call('PEXPIRE', KEYS[key], ARGV[8]) end
if ARGV[5] == '1' and over ~= '1' then
    for _, job in ipairs(redis.call('ZRANGE', KEYS[7], 0, -1)) do redis.call('PEXPIRE', ARGV[10] .. job, ARGV[11]) end
    redis.call('PEXPIRE', KEYS[7], ARGV[11])
end
if ARGV[5] == '1' then return 'told' end
local lacking = redis.call('PEXPIRE', KEYS[2], ARGV[8]) == 0
if lacking and ARGV[6] == '1' then return 'lacking' end
return redis.call('HEXISTS', KEYS[1], 'cancel') == 1 and 'cancelled' or 'told'
"""

CANCEL = """
-- KEYS: a batch. The mark stays with the batch if it is taken over.
if redis.call('HGET', KEYS[1], 'over') == '0' then redis.call('HSET', KEYS[1], 'cancel', '1') end
"""

LOOK = """
-- KEYS: all unfinished batches. ARGV: this gateway, prefix of batch keys, prefix of lease keys.
-- Returns id, gateway and token of each batch that is this gateway's, or whose gateway's lease ended.
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local by, token = unpack(redis.call('HMGET', ARGV[2] .. id, 'by', 'token'))
    if not by then
        redis.call('ZREM', KEYS[1], id)
    elseif by == ARGV[1] or redis.call('EXISTS', ARGV[3] .. by) == 0 then
        found[#found + 1] = {id, by, token}
    end
end
return found
"""

TAKE = """
-- KEYS: a batch, the lease of the gateway that owns it. ARGV: that gateway, its token, this gateway.
-- Returns whether this gateway owns it now.
local by, token, over = unpack(redis.call('HMGET', KEYS[1], 'by', 'token', 'over'))
if by ~= ARGV[1] or token ~= ARGV[2] or over ~= '0' or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'by', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'token', 1)
return 1
"""
