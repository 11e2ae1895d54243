-- ARGV: 4 a number. Notes that the partition's part of the feed holds all endings up to it, unless it holds more.
local key = KEYS[1]
if tonumber(redis.call('GET', key) or '-1') < tonumber(ARGV[4]) then
  redis.call('SET', key, ARGV[4])
end
return true
