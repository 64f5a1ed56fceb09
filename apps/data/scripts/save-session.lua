-- Stores a session unless it was ended meanwhile: a slow request must not bring a logged-out session back.
-- KEYS[1] session:<sid>   KEYS[2] sessions:<user id>, the hash of the user's sessions by sid
-- ARGV[1] sid   ARGV[2] session as JSON   ARGV[3] seconds to live   ARGV[4] entry of the hash as JSON
-- Returns 1 when stored, 0 when the session has ended.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
