-- replace: writes another record in place of one that still is as it was seen.
--
-- KEYS  1 t
-- ARGV  ticket, the record that was seen, the other one.
-- Reply ok, '' there is no such task, '!' it is another record, or where it is: a c x, if it cannot be written there.
-- Cost  O(active + log n + bytes). Not allowed when Redis is out of memory.

local function replace(keys, args)
  local b, ticket = base(keys), args[1]
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local from = place_of(b, ticket)
  if not from or find('acx', from, 1, true) then return from or '' end
  if call('HGET', b .. 't', id_of(ticket)) ~= args[2] then return '!' end
  if call('EXISTS', b .. 'by') == 1 then count_bytes(b, #args[3] - #args[2]) end
  call('HSET', b .. 't', id_of(ticket), args[3])
  return 'ok'
end

register('replace', replace, {})
