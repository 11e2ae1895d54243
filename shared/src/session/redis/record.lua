-- The record and its keys. ARGV[2] is the partition's prefix; all that a script touches lies below it, in one slot.
local prefix = ARGV[2]
local online, feed = prefix .. 'on', prefix .. 'rev'

local function session_key(id)
  return prefix .. 's:' .. id
end

local function user_key(user)
  return prefix .. 'u:' .. user
end

local function ends_at(record)
  return math.min(record.l + record.i, record.x)
end

-- What decides whether a session lives, or nil when it does not: ended, expired, or not to be read.
local function living(id)
  local fields = redis.pcall('HMGET', session_key(id), 'u', 'c', 'l', 'i', 'x', 'v')
  if fields.err then
    if string.find(fields.err, 'WRONGTYPE', 1, true) then
      return nil
    end
    -- While the slot moves to another node of a cluster: what is there already is not dead.
    error(fields.err)
  end
  local record = { u = fields[1] }
  for n, name in ipairs({ 'c', 'l', 'i', 'x', 'v' }) do
    record[name] = tonumber(fields[n + 1] or nil)
    if not record[name] then
      return nil
    end
  end
  if not record.u or now >= ends_at(record) then
    return nil
  end
  return record
end

-- All fields and values of a session that lives.
local function contents(id)
  return redis.call('HGETALL', session_key(id))
end

-- Has the key of an index live as long as what it lists.
local function keep_until(key, moment)
  if redis.call('PTTL', key) * 1000 < moment - now then
    drop_at(key, moment)
  end
end

-- The user's index first: while the slot moves it may be elsewhere, and then nothing has been done.
local function forget(id, user)
  if user then
    redis.call('ZREM', user_key(user), id)
  end
  redis.call('DEL', session_key(id))
  redis.call('ZREM', online, id)
end

-- Forgets the dead among the first two of an index: each new entry clears away more than it adds.
local function prune(index)
  for _, id in ipairs(redis.call('ZRANGE', index, 0, 1)) do
    if not living(id) then
      redis.call('ZREM', index, id)
    end
  end
end

local function seen(id, record)
  record.l = math.max(record.l, now)
  redis.call('HSET', session_key(id), 'l', record.l)
  drop_at(session_key(id), ends_at(record))
  redis.call('ZADD', online, record.l, id)
end

-- Tells all followers, and trims what no token outlives. ARGV[3] is the longest life of an access token.
local function announce(kind, id)
  local oldest = string.format('%.0f-0', math.max(0, (now - ARGV[3]) / 1000))
  if moved > 0 then
    local at = string.format('%.0f-*', math.floor(now / 1000))
    if not redis.pcall('XADD', feed, 'MINID', '~', oldest, at, kind, id).err then
      return
    end
  end
  redis.call('XADD', feed, 'MINID', '~', oldest, '*', kind, id)
end
