-- Moves a user's causal token on, never back: of two requests at once, neither undoes what the other has seen.
-- KEYS[1] causal:{<user id>}
-- ARGV[1] epoch   ARGV[2], ARGV[3] last write (seconds, counter)   ARGV[4], ARGV[5] latest seen (seconds, counter)
-- ARGV[6] signed cluster time as extended JSON, may be empty   ARGV[7] seconds to live
-- The value is epoch|seconds.counter|seconds.counter|signed; one of another epoch is replaced. Returns nothing.
local function later(s1, c1, s2, c2)
  if s1 > s2 or (s1 == s2 and c1 >= c2) then
    return s1, c1, true
  end
  return s2, c2, false
end

local ws, wc, rs, rc = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local signed = ARGV[6]
local old = redis.call('GET', KEYS[1])
if old then
  local epoch, ows, owc, ors, orc, osigned = string.match(old, '^([^|]*)|(%d+)%.(%d+)|(%d+)%.(%d+)|(.*)$')
  if epoch == ARGV[1] then
    ows, owc, ors, orc = tonumber(ows), tonumber(owc), tonumber(ors), tonumber(orc)
    local hs, hc = later(ws, wc, rs, rc)
    local ohs, ohc = later(ows, owc, ors, orc)
    local _, _, ahead = later(hs, hc, ohs, ohc)
    if not ahead or signed == '' then
      signed = osigned
    end
    ws, wc = later(ws, wc, ows, owc)
    rs, rc = later(rs, rc, ors, orc)
  end
end
local value = string.format('%s|%.0f.%.0f|%.0f.%.0f|%s', ARGV[1], ws, wc, rs, rc, signed)
redis.call('SET', KEYS[1], value, 'EX', ARGV[7])
