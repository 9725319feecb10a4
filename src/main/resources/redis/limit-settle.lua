-- Puts right what a request has taken by estimate. What it did not use comes back to the window from which it was taken, if
-- that is still open: one that has ended has nothing to give back. What it used beyond that is taken too, from the window
-- that is open now, which begins if there is none.
--
-- KEYS  the hashes of limit.lua
-- ARGV  1: the time in ms, 0 for Redis's clock; 2: when this month of UTC ends; then for each: when the window ends from
--       which it was taken (0: nothing was); what is to be added, less than 0 for what comes back; the window's length, as
--       for limit.lua
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('time')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local function endOf(window)
  if window > 0 then return now + window end
  if window == -1 then return (math.floor(now / 86400000) + 1) * 86400000 end
  return tonumber(ARGV[2])
end

local function whole(number) return string.format('%.0f', number) end

for i = 1, #KEYS do
  local from, more, window = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local kept = redis.call('hmget', KEYS[i], 'n', 'e')
  local used, ends = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
  if ends > now and (more > 0 or ends == from) then
    redis.call('hset', KEYS[i], 'n', whole(math.max(0, used + more)))
  elseif ends <= now and more > 0 then
    ends = endOf(window)
    redis.call('hset', KEYS[i], 'n', whole(more), 'e', whole(ends))
    redis.call('pexpire', KEYS[i], whole(ends - now))
  end
end
