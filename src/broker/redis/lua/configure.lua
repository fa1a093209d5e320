-- configure: changes a setting of a queue.
--
-- KEYS  1 t
-- ARGV  field of `cfg` (pause or max), value; '' takes it away.
-- Reply 1.
-- Cost  O(1). Allowed when Redis is out of memory.

local function configure(keys, args)
  local b = base(keys)
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  if not v then call('HSET', b .. 'cfg', 'v', FORMAT) end
  if args[2] == '' then
    call('HDEL', b .. 'cfg', args[1])
    wake_ready(b)
  else
    call('HSET', b .. 'cfg', args[1], args[2])
  end
  return 1
end

register('configure', configure, { 'allow-oom' })
