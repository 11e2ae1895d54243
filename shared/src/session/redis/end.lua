-- ARGV: 4 id. Announces the end even of one that is gone, for its access tokens may live on. Answers what it was.
local id = ARGV[4]
local record = living(id)
local was = record and contents(id)
forget(id, record and record.u)
announce('s', id)
return was
