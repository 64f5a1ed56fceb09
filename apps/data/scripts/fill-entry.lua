-- Stores an entry unless something was, or may have been, written after the moment that it is from.
-- KEYS[1] entry   KEYS[2] fence
-- ARGV[1], ARGV[2] what the entry is from (seconds, counter)   ARGV[3] ms to live   ARGV[4..] fields and values
-- Returns 1 when stored, 0 when refused.
local fence = redis.call('HGETALL', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 1, #fence, 2 do
  local field, value = fence[index], fence[index + 1]
  if field == 'date' then
    local fs, fc = string.match(value, '^(%d+)%.(%d+)$')
    fs, fc = tonumber(fs), tonumber(fc)
    local s, c = tonumber(ARGV[1]), tonumber(ARGV[2])
    if fs > s or (fs == s and fc > c) then
      return 0
    end
  elseif tonumber(value) > now then
    return 0
  else
    -- Its writer has died, or was never told how it ended.
    redis.call('HDEL', KEYS[2], field)
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
