-- report: a worker says that it is there, and hears what it is told.
--
-- KEYS  1 workers, of the namespace
-- ARGV  worker, how long it counts as there, ms, what it says of itself.
-- Reply what it was told: names and how often, in pairs.
-- Cost  O(orders). Allowed when Redis is out of memory.

-- Most workers forgotten in one call.
local FORGET_MAX = 100

local function report(keys, args)
  local b, worker, at = sub(keys[1], 1, -8), args[1], now()
  local old = call('ZRANGE', keys[1], '-inf', at, 'BYSCORE', 'LIMIT', 0, FORGET_MAX)
  for _, gone in ipairs(old) do
    call('UNLINK', b .. 'w:' .. gone, b .. 'wo:' .. gone)
  end
  each('ZREM', keys[1], old)
  call('ZADD', keys[1], at + args[2], worker)
  call('SET', b .. 'w:' .. worker, args[3], 'PX', expiry(args[2]))
  local orders = call('HGETALL', b .. 'wo:' .. worker)
  if #orders > 0 then call('PEXPIRE', b .. 'wo:' .. worker, expiry(args[2])) end
  return orders
end

register('report', report, { 'allow-oom' })
