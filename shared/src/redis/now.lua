-- The store's own time, in microseconds. The first argument is how far the clock was moved: nought outside tests.
local moved = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2] + moved

-- Has Redis drop a key at a moment, never before it. What counts is the moment that the record itself names.
local function drop_at(key, moment)
  redis.call('PEXPIREAT', key, string.format('%.0f', math.ceil((moment - moved) / 1000)))
end
