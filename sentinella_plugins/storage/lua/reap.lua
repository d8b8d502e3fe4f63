-- KEYS: the owners that hold something, the leases. ARGV: prefix, now, grace, limit, seconds without a beat.
local prefix, now, grace, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local reaped = {}
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local held = prefix .. 'o:' .. owner
  local until_ = redis.call('ZSCORE', KEYS[2], owner)
  local before = '+inf'
  if not until_ then
    before = tostring(now - tonumber(ARGV[5]))
  elseif tonumber(until_) > now then
    before = '-inf'
  end
  if #reaped < limit then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', before, 'LIMIT', 0, limit - #reaped)) do
      reaped[#reaped + 1] = settle(prefix, id, nil, now, grace)
    end
  end
  if redis.call('EXISTS', held) == 0 then
    redis.call('SREM', KEYS[1], owner)
  end
end
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2])) do
  if redis.call('EXISTS', prefix .. 'o:' .. owner) == 0 then
    redis.call('ZREM', KEYS[2], owner)
  end
end
return reaped
