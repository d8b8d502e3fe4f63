-- ARGV: prefix, now, log size, tenant, most entries, most bytes, limit. How many were dropped.
local prefix, tenant, count = ARGV[1], ARGV[4], 0
local uses = prefix .. 'u:' .. tenant
while count < tonumber(ARGV[7]) do
  local entries = redis.call('ZCARD', uses)
  local bytes = tonumber(redis.call('GET', prefix .. 'b:' .. tenant) or '0')
  if entries == 0 or (entries <= tonumber(ARGV[5]) and bytes <= tonumber(ARGV[6])) then
    break
  end
  remove(prefix, tenant, redis.call('ZRANGE', uses, 0, 0)[1], ARGV[2], ARGV[3])
  count = count + 1
end
return count
