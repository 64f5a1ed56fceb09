-- Announces a write, or dates it, and drops the entry that it makes old.
-- KEYS[1] entry   KEYS[2] fence: a hash of `date`, the latest write, and of the writes under way with the ms they end at
-- ARGV[1] the write   ARGV[2] ms that it may be under way, or the `seconds.counter` of the cluster's clock at which it
-- happened   ARGV[3] ms that the fence lives. A date is never replaced by an earlier one. Returns nothing.
redis.call('DEL', KEYS[1])
local seconds, counter = string.match(ARGV[2], '^(%d+)%.(%d+)$')
if seconds then
  redis.call('HDEL', KEYS[2], ARGV[1])
  local os, oc = string.match(redis.call('HGET', KEYS[2], 'date') or '0.0', '^(%d+)%.(%d+)$')
  seconds, counter, os, oc = tonumber(seconds), tonumber(counter), tonumber(os), tonumber(oc)
  if seconds > os or (seconds == os and counter > oc) then
    redis.call('HSET', KEYS[2], 'date', ARGV[2])
  end
else
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[2], ARGV[1], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
