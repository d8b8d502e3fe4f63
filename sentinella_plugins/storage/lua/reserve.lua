-- KEYS: the reservation. ARGV: prefix, now, grace, id, owner, claims, memo; without an id it is only counted.
-- Answers {granted, used...}, then the zero-based indexes of refused claims after a -1; nothing when the id is in use.
local prefix, now, grace, id, owner = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
if id ~= '' and redis.call('EXISTS', KEYS[1]) == 1 then
  return {}
end
local claims = cjson.decode(ARGV[6])
local used, refused = {}, {}
for index, claim in ipairs(claims) do
  used[index] = tonumber(redis.call('GET', prefix .. 'b:' .. claim[1]) or '0')
  if claim[3] ~= cjson.null and claim[2] > claim[3] - used[index] then
    refused[#refused + 1] = index - 1
  end
end
if #refused == 0 then
  for index, claim in ipairs(claims) do
    local bucket = prefix .. 'b:' .. claim[1]
    used[index] = used[index] + claim[2]
    if claim[4] ~= cjson.null then
      local left = math.max(1, math.ceil((claim[4] + grace - now) * 1000))
      redis.call('SET', bucket, digits(used[index]), 'PX', digits(left))
    elseif claim[2] > 0 then
      redis.call('INCRBY', bucket, digits(claim[2]))
    end
  end
  if id ~= '' then
    redis.call('HSET', KEYS[1], 'owner', owner, 'claims', ARGV[6], 'memo', ARGV[7])
    redis.call('ZADD', prefix .. 'o:' .. owner, ARGV[2], id)
    redis.call('SADD', prefix .. 'owners', owner)
  end
end
local answer = { 1, unpack(used) }
if #refused > 0 then
  answer[1] = 0
  answer[#answer + 1] = -1
  for _, index in ipairs(refused) do
    answer[#answer + 1] = index
  end
end
return answer
