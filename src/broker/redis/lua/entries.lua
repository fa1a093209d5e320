-- entries: some of the timetable.
--
-- KEYS  1 t
-- ARGV  names.
-- Reply per name: the entry, or ''; its ticks.
-- Cost  O(names + bytes). Reads only.

local function entries(keys, args)
  local b, told = base(keys), {}
  for _, name in ipairs(args) do
    local entry, ticks = entry_at(b, name)
    told[#told + 1] = entry or ''
    told[#told + 1] = ticks or ''
  end
  return told
end

register('entries', entries, { 'no-writes' })
