-- remove_entry: removes an entry of the timetable.
--
-- KEYS  1 t
-- ARGV  name.
-- Reply 1 if it was there, 0 if not.
-- Cost  O(1). Allowed when Redis is out of memory.

local function remove_entry(keys, args)
  local b, name = base(keys), args[1]
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local entry = entry_at(b, name)
  if not entry then return 0 end
  local highest = tonumber(call('HGET', b .. 'st', 'entry') or 0) or 0
  call('HSET', b .. 'st', 'entry', math.max(highest, (struct.unpack('>I8', entry))))
  call('HDEL', b .. 'cr', name)
  call('HDEL', b .. 'ct', name)
  call('PUBLISH', b .. 'due', '')
  return 1
end

register('remove_entry', remove_entry, { 'allow-oom' })
