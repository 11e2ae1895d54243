-- ARGV: 4 id, 5 client, 6 most grants. Answers nil when the session is gone, else what happened and the contents, which are
-- empty when there are as many grants as may be.
local id, key, grant, most = ARGV[4], KEYS[1], 'g:' .. ARGV[5], tonumber(ARGV[6])
local record = living(id)
if not record then
  return false
end

if redis.call('HEXISTS', key, grant) == 0 then
  local count = 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 'g:' then
      count = count + 1
    end
  end
  if count >= most then
    return { 'full', {} }
  end
end
redis.call('HSET', key, grant, string.format('1:%.0f', now))
seen(id, record)
return { 'begun', contents(id) }
