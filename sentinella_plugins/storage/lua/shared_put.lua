-- ARGV: prefix, name, value, milliseconds to live, most bytes of all. Those that end first make room.
local prefix, name, value, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most = tonumber(ARGV[5]) - #value
remove(prefix, name)
if most < 0 then
  return 0
end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'ends', '-inf', now, 'LIMIT', 0, 100)) do
  remove(prefix, old)
end
while number(redis.call('GET', prefix .. 'bytes')) > most do
  local first = redis.call('ZRANGE', prefix .. 'ends', 0, 0)[1]
  if not first then -- the server threw a part of the books away
    redis.call('DEL', prefix .. 'bytes', prefix .. 'sizes')
    break
  end
  remove(prefix, first)
end
redis.call('SET', prefix .. 'v:' .. name, value, 'PX', ttl)
redis.call('ZADD', prefix .. 'ends', now + ttl, name)
redis.call('HSET', prefix .. 'sizes', name, #value)
redis.call('INCRBY', prefix .. 'bytes', #value)
return 1
