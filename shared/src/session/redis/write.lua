-- ARGV: 4 id, 5 the expected version or '', then 'set' or 'remove', field, value for each change.
-- Answers the new version, -1 gone, -2 another version.
local id, expected = ARGV[4], tonumber(ARGV[5])
local key, record = KEYS[1], living(id)
if not record then
  return -1
end
if expected and expected ~= record.v then
  return -2
end
for n = 6, #ARGV, 3 do
  if ARGV[n] == 'set' then
    redis.call('HSET', key, ARGV[n + 1], ARGV[n + 2])
  else
    redis.call('HDEL', key, ARGV[n + 1])
  end
end
return redis.call('HINCRBY', key, 'v', 1)
