-- ARGV: 4 id, 5 user, 6 most sessions, 7 'refuse' or 'end', 8 idle, 9 absolute, 10 client, then fields and values.
-- Answers nil when the limit refuses, else the contents and the ids that ended.
local id, user, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
local key, index = session_key(id), KEYS[1]
local ended = {}

if redis.call('ZCARD', index) >= most then
  local live = {}
  for _, other in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if living(other) then
      table.insert(live, other)
    else
      forget(other, user)
    end
  end
  if #live >= most then
    if ARGV[7] == 'refuse' then
      return false
    end
    for n = 1, #live - most + 1 do
      forget(live[n], user)
      announce('s', live[n])
      table.insert(ended, live[n])
    end
  end
end
prune(index)
prune(online)

-- Two sessions of a user never begin at the same moment: their order is the order in which they began.
local newest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
local created = math.max(now, (tonumber(newest[2]) or 0) + 1)
local record = { l = now, i = tonumber(ARGV[8]), x = now + ARGV[9] }
redis.call('HSET', key, 'u', user, 'c', created, 'l', record.l, 'i', record.i, 'x', record.x, 'v', 0,
  'g:' .. ARGV[10], string.format('1:%.0f', now), unpack(ARGV, 11))
local kept = contents(id)
drop_at(key, ends_at(record))
redis.call('ZADD', index, created, id)
redis.call('ZADD', online, record.l, id)
keep_until(index, record.x)
keep_until(online, record.x)
return { kept, ended }
