-- write_entry: writes an entry of the timetable, if it is as it was seen.
--
-- KEYS  1 t
-- ARGV  name, version seen as 8 bytes, 0: none; what it says; most entries.
-- Reply 1 if it was written, 0 if not.
--       QFULL: there are so many entries.
-- Cost  O(bytes). Not allowed when Redis is out of memory.
--
-- The versions of an entry that is made anew go on above those of all that were removed: whoever slept meanwhile has
-- not seen it.

local function write_entry(keys, args)
  local b, name, at = base(keys), args[1], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local entry = entry_at(b, name)
  local version = NO_TICK
  if entry then version = sub(entry, 1, 8) end
  if version ~= args[2] then return 0 end
  local number = struct.unpack('>I8', version)
  if not entry then
    if call('HLEN', b .. 'cr') >= tonumber(args[4]) then
      return redis.error_reply('QFULL the timetable of the queue has ' .. args[4] .. ' entries, and has room for no more')
    end
    number = tonumber(call('HGET', b .. 'st', 'entry') or 0) or 0
    call('HSET', b .. 'ct', name, struct.pack('>I8', at))
  end
  call('HSET', b .. 'cr', name, struct.pack('>I8', number + 1) .. args[3])
  if not v then call('HSET', b .. 'cfg', 'v', FORMAT) end
  call('PUBLISH', b .. 'due', '')
  return 1
end

register('write_entry', write_entry, {})
