-- signal: tells a worker to do something.
--
-- KEYS  1 workers, of the namespace
-- ARGV  worker, name of the order, most names.
-- Reply 1 if it is there and was told, 0 if not, -1 if it was told so many other things.
-- Cost  O(1). Allowed when Redis is out of memory.

local function signal(keys, args)
  local b, worker = sub(keys[1], 1, -8), args[1]
  local till = tonumber(call('ZSCORE', keys[1], worker) or 0)
  local left = till - now()
  if left <= 0 then return 0 end
  local key = b .. 'wo:' .. worker
  if call('HEXISTS', key, args[2]) == 0 and call('HLEN', key) >= tonumber(args[3]) then return -1 end
  call('HINCRBY', key, args[2], 1)
  call('PEXPIRE', key, left)
  call('PUBLISH', b .. 'signals', '')
  return 1
end

register('signal', signal, { 'allow-oom' })
