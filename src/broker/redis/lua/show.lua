-- show: where a task is. Its record exists, or it would not be asked for.
--
-- KEYS  1 t
-- ARGV  ticket, 1 to look for it in what is held.
-- Reply state (s scheduled, p pending, a active, r retry, c completed, x archived, g aggregating), time or -1, trail or '',
--       result or reason or ''. Nothing: there is no such task.
-- Cost  O(1); O(active) if it is looked for in what is held, and neither waits for its time nor ended. Reads only.
--
-- Who may not see what is held, as a producer, who would learn the ids of others, is told pending until the end.

local function show(keys, args)
  local b, ticket = base(keys), args[1]
  local id = id_of(ticket)
  if call('HEXISTS', b .. 't', id) == 0 or call('SISMEMBER', b .. 'or', id) == 1 then return {} end
  local state, time = 'p', -1
  for _, key in ipairs({ 's', 'r', 'c', 'x', 'g' }) do
    local score = call('ZSCORE', b .. key, ticket)
    if score then state, time = key, tonumber(score) end
  end
  if state == 'p' and args[2] == '1' and is_held(b, ticket) then state = 'a' end
  return { state, time, call('HGET', b .. 'tr', id) or '', call('HGET', b .. 'k', id) or '' }
end

register('show', show, { 'no-writes' })
