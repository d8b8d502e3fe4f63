-- ARGV: prefix, now, log size, expired at, limit. How many existed.
local prefix, count = ARGV[1], 0
for _, place in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'x', '-inf', ARGV[4], 'LIMIT', 0, ARGV[5])) do
  local tenant, id = string.match(place, '^(.*):([^:]*)$')
  count = count + remove(prefix, tenant, id, ARGV[2], ARGV[3])
end
return count
