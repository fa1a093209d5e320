-- groups: the gatherings of a queue, the oldest first.
--
-- KEYS  1 t
-- ARGV  most gatherings.
-- Reply per gathering: kind and name, tasks, since, when it closes or -1 if it is closed.
-- Cost  O(gatherings answered). Reads only.

local function groups(keys, args)
  local b, told = base(keys), {}
  for _, number in ipairs(call('ZRANGE', b .. 'gs', 0, args[1] - 1)) do
    local row = call('HGET', b .. 'gn', number)
    if row and #row > 17 then
      local closes = sub(row, 7, 12) == OPEN and call('ZSCORE', b .. 'gc', number) or -1
      told[#told + 1] = {
        sub(row, 13), call('ZCARD', b .. 'gm:' .. number), (struct.unpack('>I6', row)), tonumber(closes),
      }
    end
  end
  return told
end

register('groups', groups, { 'no-writes' })
