-- Takes from each limit of a request what the request needs, or, if one of them has not got so much, from none.
-- Nobody can come in between, and the clock is Redis's own: it is exact, however many gateways ask.
--
-- Several requests can ask in one call: each is decided on by itself, in their order.
--
-- KEYS  a hash for each limit of each request: n what is used, e when its window ends, b until when it is blocked (ms of
--       Unix time), m how much there was in a window then
-- ARGV  1: the time in ms, 0 for Redis's clock; 2 to 4: when the last, this and the next month of UTC end; then for each
--       request: how many limits it has; how much more is wanted ahead of each of them, for later requests; and for each
--       of them: how much there is in a window; its length in ms (from the
--       first use on; -1: a day of UTC, -2: a month of UTC); for how many ms who goes over is refused; how much the
--       request needs
-- Returns for each request: the time, the limit that refused (0: none; of several the one that refuses longest), how much
--       was taken ahead: all that was wanted, or nothing where one of the limits has less than a quarter left after it; and
--       for each limit how much is used and when that is over. Keys go by themselves when their window, or their block, has
--       ended.
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('time')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local function endOf(window)
  if window > 0 then return now + window end
  if window == -1 then return (math.floor(now / 86400000) + 1) * 86400000 end
  for i = 2, 3 do
    if tonumber(ARGV[i]) > now then return tonumber(ARGV[i]) end
  end
  return tonumber(ARGV[4])
end

local function whole(number) return string.format('%.0f', number) end

-- the limits of one request: their number, and where in KEYS and ARGV the first of them is
local function take(count, ahead, key, arg)
  local refused, longest = 0, 0
  local limits, reply = {}, {now}
  for i = 1, count do
    local at = arg + 4 * (i - 1)
    local max, window, block, need = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local name = KEYS[key + i - 1]
    local kept = redis.call('hmget', name, 'n', 'e', 'b', 'm')
    local used, ends, blocked = tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
    -- the limit may be another one by now: no window and no block is longer than it says, and who was over it before it
    -- was raised is let in
    if blocked > now + math.max(window, block) or max > tonumber(kept[4] or max) then
      blocked = 0
      redis.call('hdel', name, 'b', 'm')
    end
    if window > 0 and ends > now + window then
      ends = now + window
      redis.call('hset', name, 'e', whole(ends))
      redis.call('pexpire', name, whole(math.max(ends, blocked) - now))
    end
    if ends <= now then used, ends = 0, endOf(window) end
    if need > 0 and (blocked > now or used + need > max) then
      if blocked <= now and block > 0 then
        -- never shorter than the window: or a limit could be had several times in it
        blocked = math.max(ends, now + block)
        redis.call('hset', name, 'b', whole(blocked), 'm', whole(max))
        redis.call('pexpire', name, whole(blocked - now))
      end
      -- not as long as a window that would begin now: the one before may be over
      if blocked > now then used, ends = max, blocked end
      if ends > longest then refused, longest = i, ends end
    end
    if blocked > now or used + need + ahead > max * 0.75 then ahead = 0 end
    limits[i] = {name = name, used = used, ends = ends, need = need}
  end

  -- of a limit that refuses there is less than a quarter left
  reply[2], reply[3] = refused, ahead
  for i = 1, count do
    local limit = limits[i]
    if refused == 0 and limit.need + ahead > 0 then
      limit.used = limit.used + limit.need + ahead
      redis.call('hset', limit.name, 'n', whole(limit.used), 'e', whole(limit.ends))
      redis.call('pexpire', limit.name, whole(limit.ends - now))
    end
    reply[2 * i + 2] = limit.used
    reply[2 * i + 3] = limit.ends
  end
  return reply
end

local replies = {}
local key, arg = 1, 5
while arg <= #ARGV do
  local count = tonumber(ARGV[arg])
  replies[#replies + 1] = take(count, tonumber(ARGV[arg + 1]), key, arg + 2)
  key, arg = key + count, arg + 2 + 4 * count
end
return replies
