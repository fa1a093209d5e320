-- holder: who holds a lock.
--
-- KEYS  1 t
-- ARGV  names.
-- Reply the id of the first holder under any of them, or ''.
-- Cost  O(names). Reads only.

local function holder(keys, args)
  local b, at = base(keys), now()
  for _, name in ipairs(args) do
    local row = lock_at(b, name, at)
    if row then return id_of(row.owner) end
  end
  return ''
end

register('holder', holder, { 'no-writes' })
