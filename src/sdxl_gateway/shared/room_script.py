"""A Lua function that keeps one kind of data in Redis within a limit; put before the scripts that add to it."""

from __future__ import annotations

MAKE_ROOM = """
-- Records the value `name`, of `size` bytes, as the latest in `by_age` ("size name" by time), whose sum is `bytes`.
-- Removes the oldest, until the others fit into `room` and none is older than `kept_ms`.
local function make_room(by_age, bytes, name, size, room, kept_ms)
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local added = redis.call('ZADD', by_age, now, size .. ' ' .. name)
    local total = redis.call('INCRBY', bytes, added * size)
    while true do
        local oldest = redis.call('ZRANGE', by_age, 0, 0, 'WITHSCORES')
        if not oldest[1] or (total <= tonumber(room) and oldest[2] + kept_ms > now) then break end
        local gone, other = string.match(oldest[1], '(%d+) (.+)')
        redis.call('ZREM', by_age, oldest[1])
        redis.call('DEL', other)
        total = redis.call('DECRBY', bytes, gone)
    end
    redis.call('PEXPIRE', by_age, kept_ms)
    redis.call('PEXPIRE', bytes, kept_ms)
end
"""
