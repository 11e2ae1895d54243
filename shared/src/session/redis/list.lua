-- ARGV: 4 user. Answers id and contents of each, the newest first.
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
  if living(id) then
    table.insert(found, { id, contents(id) })
  else
    forget(id, ARGV[4])
  end
end
return found
