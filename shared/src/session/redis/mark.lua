-- ARGV: 4 the mark that was seen or '', 5 the new one. Marks the partition's part of the feed, unless it was marked or has
-- lost its memory since.
if (redis.call('GET', KEYS[1]) or '') == ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[5])
end
return true
