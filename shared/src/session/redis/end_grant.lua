-- ARGV: 4 id, 5 client. Answers true.
if living(ARGV[4]) then
  redis.call('HDEL', KEYS[1], 'g:' .. ARGV[5])
end
return true
