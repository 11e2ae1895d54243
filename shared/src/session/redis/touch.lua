-- ARGV: 4 id. Answers 0 gone, 1 not due, 2 seen.
local id = ARGV[4]
local record = living(id)
if not record then
  return 0
end
if (now - record.l) * 30 < record.i then
  return 1
end
seen(id, record)
return 2
