-- KEYS: the reservation. ARGV: prefix, now, grace, id, actual amounts as JSON or '' for none.
local actual = ARGV[5] ~= '' and cjson.decode(ARGV[5]) or nil
return settle(ARGV[1], ARGV[4], actual, tonumber(ARGV[2]), tonumber(ARGV[3])) and 1 or 0
