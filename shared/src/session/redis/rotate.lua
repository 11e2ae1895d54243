-- ARGV: 4 id, 5 client, 6 the generation presented, 7 grace, 8 how long the request has waited,
-- 9 whether it is the platform's own.
-- Answers nil when there is nothing to rotate, else what happened, the client's generation, the contents.
local id, grant, presented = ARGV[4], 'g:' .. ARGV[5], tonumber(ARGV[6])
local record = living(id)
if not record then
  return false
end
local current, rotated = string.match(redis.call('HGET', KEYS[1], grant) or '', '^(%d+):(%d+)$')
current, rotated = tonumber(current), tonumber(rotated)
if not current then
  return false
end

if presented >= current then
  -- One that is ahead proves that a write was lost in a failover: its holder was given it.
  local successor = string.format('%.0f', presented + 1)
  redis.call('HSET', KEYS[1], grant, string.format('%s:%.0f', successor, now))
  seen(id, record)
  return { 'rotated', successor, contents(id) }
end
if presented == current - 1 and now - rotated <= tonumber(ARGV[7]) then
  return { 'repeated', string.format('%.0f', current), contents(id) }
end
-- A caller from before the last rotation has gone on without the answer.
if now - tonumber(ARGV[8] or '0') < rotated then
  return { 'late', string.format('%.0f', current), contents(id) }
end
if ARGV[9] == '0' then
  redis.call('HDEL', KEYS[1], grant)
  return { 'stolen from client', string.format('%.0f', current), contents(id) }
end
local stolen = contents(id)
forget(id, record.u)
announce('s', id)
return { 'stolen', string.format('%.0f', current), stolen }
