"""What is done at once in Redis to keys of requests and their replies, in Lua (see shared/replies.py)."""

from __future__ import annotations

from sdxl_gateway.shared.room_script import MAKE_ROOM

CLAIM = """
-- One key: a hash of mark (what was asked), token (whose claim), by (which gateway) and, in the end, answered.
-- KEYS: it, its reply. ARGV: mark, token, gateway, lease in ms, new or renewed. Gives what it is, and the reply.
-- A new claim takes the place of one of the same gateway, which has one at a time and is done with the older; and of an
-- answer that was this gateway's alone, and is lost. A renewed one stands again in a Redis that forgot it.
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
-- KEYS: a key, its reply, all replies by their time, how much they are together.
-- ARGV: mark, token, gateway, the reply or '', how long in ms, how much there is room for. Gives whether it counts.
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
-- KEYS: a key. ARGV: token. What was answered stays.
local token, answered = unpack(redis.call('HMGET', KEYS[1], 'token', 'answered'))
if token == ARGV[1] and not answered then redis.call('DEL', KEYS[1]) end
"""
