"""Lua scripts that change Idempotency-Keys and their replies in Redis atomically (see shared/replies.py)."""

from __future__ import annotations

from sdxl_gateway.shared.room_script import MAKE_ROOM

CLAIM = """
-- One key: a hash of mark (the request's fingerprint), token (of the claim), by (gateway) and, in the end, answered.
-- KEYS: it, its reply. ARGV: mark, token, gateway, lease in ms, new or renewed. Returns the outcome, and the reply.
-- A new claim replaces an older one of the same gateway, which has only one at a time; and an answer that only this
-- gateway had, and lost. A renewed claim is restored in a Redis that lost it.
local mark, token, by, answered = unpack(redis.call('HMGET', KEYS[1], 'mark', 'token', 'by', 'answered'))
local mine = by == ARGV[3] and ARGV[5] == 'new'
if token == ARGV[2] and answered then return {'mine'} end
if mark and token ~= ARGV[2] and (answered or not mine) then
    if mark ~= ARGV[1] then return {'reused'} end
    if not answered then return {'running'} end
    local reply = redis.call('GET', KEYS[2])
    if reply then return {'answered', reply} end
    if not mine then return {'elsewhere'} end
end
redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'token', ARGV[2], 'by', ARGV[3])
redis.call('HDEL', KEYS[1], 'answered')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'mine'}
"""

KEEP = f"""{MAKE_ROOM}
-- KEYS: a key, its reply, all replies by their time, their total size.
-- ARGV: mark, token, gateway, the reply or '', retention in ms, limit of the total size. Returns whether it counts.
local token, answered = unpack(redis.call('HMGET', KEYS[1], 'token', 'answered'))
if answered or (token and token ~= ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'token', ARGV[2], 'by', ARGV[3], 'answered', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if #ARGV[4] == 0 then return 1 end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
make_room(KEYS[3], KEYS[4], KEYS[2], #ARGV[4], ARGV[6], ARGV[5])
return 1
"""

RELEASE = """
-- KEYS: a key. ARGV: token. An answered key stays.
local token, answered = unpack(redis.call('HMGET', KEYS[1], 'token', 'answered'))
if token == ARGV[1] and not answered then redis.call('DEL', KEYS[1]) end
"""
