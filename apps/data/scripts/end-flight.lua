-- Ends a read that others wait for, unless somebody else has taken it over.
-- KEYS[1] flight   ARGV[1] its holder. Returns nothing.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
