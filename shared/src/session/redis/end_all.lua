-- ARGV: 4 user, 5 the session to spare or ''. Answers the ids that ended.
local user, spared = ARGV[4], ARGV[5]
local ended = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if not living(id) then
    forget(id, user)
  elseif id ~= spared then
    forget(id, user)
    announce('s', id)
    table.insert(ended, id)
  end
end
return ended
