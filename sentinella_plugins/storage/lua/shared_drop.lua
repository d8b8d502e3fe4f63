-- ARGV: prefix, then names.
for place = 2, #ARGV do
  remove(ARGV[1], ARGV[place])
end
return 1
