-- Announces or dates a write, and drops the entry that it makes old.
-- KEYS[1] entry   KEYS[2] fence
-- ARGV[1] `pending` before the write, `seconds.counter` of the cluster's clock after it   ARGV[2] ms to live
-- A date is never replaced by an earlier one. Returns nothing.
redis.call('DEL', KEYS[1])
local old = redis.call('GET', KEYS[2])
if old and old ~= 'pending' and ARGV[1] ~= 'pending' then
  local os, oc = string.match(old, '^(%d+)%.(%d+)$')
  local ns, nc = string.match(ARGV[1], '^(%d+)%.(%d+)$')
  os, oc, ns, nc = tonumber(os), tonumber(oc), tonumber(ns), tonumber(nc)
  if os > ns or (os == ns and oc > nc) then
    return
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
