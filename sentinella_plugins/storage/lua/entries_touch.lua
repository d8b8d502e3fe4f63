-- ARGV: prefix, then tenant, id, used at for each.
for place = 2, #ARGV, 3 do
  redis.call('ZADD', ARGV[1] .. 'u:' .. ARGV[place], 'XX', 'GT', ARGV[place + 2], ARGV[place + 1])
end
return 1
