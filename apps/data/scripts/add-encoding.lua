-- Adds an entry's body in one more encoding, unless another entry has taken its place.
-- KEYS[1] entry   ARGV[1] the `meta` it has to have   ARGV[2] encoding   ARGV[3] body. Returns nothing.
if redis.call('HGET', KEYS[1], 'meta') == ARGV[1] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
