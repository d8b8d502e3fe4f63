-- What the scripts of kept answers share. Places are two lists, tenants and ids, side by side.

local function remove(prefix, tenant, id, at, log_size)
  local name = prefix .. 'e:' .. tenant .. ':' .. id
  local row = redis.call('HMGET', name, 'scope', 'bytes')
  redis.call('ZREM', prefix .. 'u:' .. tenant, id)
  redis.call('ZREM', prefix .. 'x', tenant .. ':' .. id)
  if not row[1] then
    return 0
  end
  redis.call('DEL', name)
  if redis.call('ZCARD', prefix .. 'u:' .. tenant) == 0 then
    redis.call('DEL', prefix .. 'b:' .. tenant)
    redis.call('SREM', prefix .. 't', tenant)
  else
    redis.call('DECRBY', prefix .. 'b:' .. tenant, row[2])
  end
  redis.call('XADD', prefix .. 'log', 'MAXLEN', '~', log_size, '*',
    'kind', 'drop', 'tenant', tenant, 'entry', id, 'scope', row[1], 'at', at)
  return 1
end
