-- Puts right what a request has taken by estimate: what it did not use comes back, what it used beyond that is taken
-- too. Only in the window from which it was taken: one that has ended has nothing to give back.
--
-- KEYS  the hashes of limit.lua
-- ARGV  for each: when the window ends from which it was taken; what is to be added, less than 0 for what comes back
for i = 1, #KEYS do
  if redis.call('hget', KEYS[i], 'e') == ARGV[2 * i - 1] and redis.call('hincrby', KEYS[i], 'n', ARGV[2 * i]) < 0 then
    redis.call('hset', KEYS[i], 'n', 0)
  end
end
