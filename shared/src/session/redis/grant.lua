-- ARGV: 4 id, 5 client, 6 most grants. Answers nil when the session is gone, else the contents.
local id, key, grant, most = ARGV[4], KEYS[1], 'g:' .. ARGV[5], tonumber(ARGV[6])
local record = living(id)
if not record then
  return false
end

if redis.call('HEXISTS', key, grant) == 0 then
  local count, oldest, oldest_at = 0, nil, nil
  local fields = redis.call('HGETALL', key)
  for n = 1, #fields, 2 do
    local at = string.sub(fields[n], 1, 2) == 'g:' and tonumber(string.match(fields[n + 1], ':(%d+)$'))
    if at then
      count = count + 1
      if not oldest or at < oldest_at or (at == oldest_at and fields[n] < oldest) then
        oldest, oldest_at = fields[n], at
      end
    end
  end
  if count >= most then
    redis.call('HDEL', key, oldest)
  end
end
redis.call('HSET', key, grant, string.format('1:%.0f', now))
seen(id, record)
return contents(id)
