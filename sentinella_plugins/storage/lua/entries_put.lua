-- ARGV: prefix, now, log size, tenant, id, expires at, created at, scope, bytes, then the fields of the row.
local prefix, now, log_size, tenant, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local name = prefix .. 'e:' .. tenant .. ':' .. id
local before = redis.call('HGET', name, 'bytes') or '0'
redis.call('DEL', name)
redis.call('HSET', name, unpack(ARGV, 10))
redis.call('ZADD', prefix .. 'x', ARGV[6], tenant .. ':' .. id)
redis.call('ZADD', prefix .. 'u:' .. tenant, ARGV[7], id)
redis.call('SADD', prefix .. 't', tenant)
redis.call('INCRBY', prefix .. 'b:' .. tenant, tonumber(ARGV[9]) - tonumber(before))
redis.call('XADD', prefix .. 'log', 'MAXLEN', '~', log_size, '*',
  'kind', 'put', 'tenant', tenant, 'entry', id, 'scope', ARGV[8], 'at', now)
return 1
