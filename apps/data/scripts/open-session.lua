-- Makes room for a session that is stored next: ends those that its log-in has begun before, and the oldest beyond a bound.
-- KEYS[1] sessions:{<user id>}, the hash of the user's sessions by sid
-- ARGV[1] sid   ARGV[2] its entry of the hash as JSON   ARGV[3] sessions at the most   ARGV[4] prefix of a session's key,
-- which has the user's braces, too. Returns nothing.
local login = cjson.decode(ARGV[2]).loginKey
local found = redis.call('HGETALL', KEYS[1])
local others, ended = {}, {}
for index = 1, #found, 2 do
  local entry = cjson.decode(found[index + 1])
  if entry.loginKey == login then
    table.insert(ended, found[index])
  else
    table.insert(others, { sid = found[index], seen = entry.lastSeenAt })
  end
end
table.sort(others, function(a, b) return a.seen > b.seen end)
for index = tonumber(ARGV[3]), #others do
  table.insert(ended, others[index].sid)
end
for _, sid in ipairs(ended) do
  redis.call('HDEL', KEYS[1], sid)
  redis.call('DEL', ARGV[4] .. sid)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
