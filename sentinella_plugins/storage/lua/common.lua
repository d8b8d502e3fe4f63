-- Numbers go out as plain digits: Lua would write large ones as 1e+15.
local function digits(number)
  return string.format('%.0f', number)
end

-- claims are lists of {key, amount, limit, expires_at}, as `wire.py` writes them
local function settle(prefix, id, actual, now, grace)
  local name = prefix .. 'r:' .. id
  local row = redis.call('HMGET', name, 'owner', 'claims', 'memo')
  if not row[1] then
    return nil
  end
  redis.call('DEL', name)
  redis.call('ZREM', prefix .. 'o:' .. row[1], id)
  for _, claim in ipairs(cjson.decode(row[2])) do
    local gauge = claim[4] == cjson.null
    if gauge or claim[4] + grace > now then
      local bucket = prefix .. 'b:' .. claim[1]
      local amount = claim[2]
      if actual then
        amount = actual[claim[1]] or claim[2]
      else
        amount = 0
      end
      local value = math.max(0, tonumber(redis.call('GET', bucket) or '0') + (amount - claim[2]))
      if not gauge then
        local left = math.max(1, math.ceil((claim[4] + grace - now) * 1000))
        redis.call('SET', bucket, digits(value), 'PX', digits(left))
      elseif value == 0 then
        redis.call('DEL', bucket)
      else
        redis.call('SET', bucket, digits(value))
      end
    end
  end
  return { id, row[1], row[2], row[3] }
end
