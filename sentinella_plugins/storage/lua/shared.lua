-- What the scripts of shared values share. `ends` orders them by their end, `sizes` knows what each takes,
-- `bytes` what all of them take.

local function number(value)
  return tonumber(value or '0')
end

local function remove(prefix, name)
  redis.call('DEL', prefix .. 'v:' .. name)
  redis.call('ZREM', prefix .. 'ends', name)
  redis.call('DECRBY', prefix .. 'bytes', number(redis.call('HGET', prefix .. 'sizes', name)))
  redis.call('HDEL', prefix .. 'sizes', name)
end
