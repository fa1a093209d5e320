-- note: what runs leave beside their tasks.
--
-- KEYS  1 t
-- ARGV  session, then per note: field of its claim and id, slot, what is written.
-- Reply a '1' (written) or '0' (not held) per note.
--       FENCED: the session is dead or was never there.
-- Cost  O(notes + tasks of the claims). Not allowed when Redis is out of memory.

local function note(keys, args)
  local b, session = base(keys), args[1]
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  if not may_settle(b, session) then
    return fenced('is dead or unknown; its claims belong to others')
  end
  local held_key, claims, answers, fields = b .. 'a:' .. session, {}, {}, {}
  for i = 2, #args, 3 do
    local field, id = sub(args[i], 1, 16), sub(args[i], 17)
    local ids = claims[field]
    if ids == nil then
      ids = call('HGET', held_key, field)
      ids = ids and is_claim(field, ids) and ids or ''
      claims[field] = ids
    end
    local is_held = #id == 16 and find_id(ids, id, 1)
    answers[#answers + 1] = is_held and '1' or '0'
    if is_held then
      fields[#fields + 1] = id .. char(args[i + 1])
      fields[#fields + 1] = args[i + 2]
    end
  end
  each('HSET', b .. 'nt', fields)
  if #fields > 0 then call('PUBLISH', b .. 'noted', '') end
  return concat(answers)
end

register('note', note, {})
