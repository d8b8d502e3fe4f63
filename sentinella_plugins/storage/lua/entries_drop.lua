-- ARGV: prefix, now, log size, tenant, then ids. How many existed.
local count = 0
for place = 5, #ARGV do
  count = count + remove(ARGV[1], ARGV[4], ARGV[place], ARGV[2], ARGV[3])
end
return count
