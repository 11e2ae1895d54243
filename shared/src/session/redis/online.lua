-- ARGV: 4 how many, then 5 when the last one of the page before was seen, 6 its id. Answers id and contents of each,
-- the last seen first; of those seen at the same moment the greater id first, byte by byte.
local most, found = tonumber(ARGV[4]), {}

-- Takes a session that lives, and clears away another. Answers whether it stays in the index.
local function take(id)
  if not living(id) then
    redis.call('ZREM', online, id)
    return false
  end
  table.insert(found, { id, contents(id) })
  return true
end

-- Not `<`, which asks the server's locale.
local function less(one, other)
  for n = 1, math.min(#one, #other) do
    local difference = string.byte(one, n) - string.byte(other, n)
    if difference ~= 0 then
      return difference < 0
    end
  end
  return #one < #other
end

local from = '+inf'
if ARGV[5] then
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', online, ARGV[5], ARGV[5])) do
    if #found < most and less(id, ARGV[6]) then
      take(id)
    end
  end
  from = '(' .. ARGV[5]
end

local stayed = 0
while #found < most do
  local batch = redis.call('ZREVRANGEBYSCORE', online, from, '-inf', 'LIMIT', stayed, most)
  if #batch == 0 then
    break
  end
  for _, id in ipairs(batch) do
    if #found < most and take(id) then
      stayed = stayed + 1
    end
  end
end
return found
