-- act: what a person does to a task that is not active.
--
-- KEYS  1 t
-- ARGV  ticket, what (r run, x archive, d delete, s due at another time), how the time is meant ('' at once, at, in), ms.
-- Reply ok, '' there is no such task, or where it is: s p a r c x g, if that cannot be done there.
-- Cost  O(active + log n). Allowed when Redis is out of memory, for it deletes.
--
-- A task has its new place before it leaves the old one: a right that is missing must not strand it.

-- Where what can be done.
local ACTS = { r = 'srxg', x = 'sprg', d = 'sprcxg', s = 'sprg' }
local OPERATOR = 7

local function act(keys, args)
  local b, ticket, what, at = base(keys), args[1], args[2], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local wrong = of_other_type(b, TASK_TYPES) or groups_wrong(b)
  if wrong then return wrong end
  local from = place_of(b, ticket)
  if not from or not find(ACTS[what], from, 1, true) then return from or '' end
  if what == 'x' then
    archive(b, ticket, at, OPERATOR)
    leave(b, ticket, from)
  elseif what == 'd' then
    unlock(b, { id_of(ticket) }, ALWAYS)
    forget(b, { id_of(ticket) }, now)
    leave(b, ticket, from)
  else
    local due = at
    if args[3] ~= '' then due = tonumber(args[4]) + (args[3] == 'in' and at or 0) end
    if due > at then
      local is_next = schedule(b, ticket, due)
      if from ~= 's' then leave(b, ticket, from) end
      if is_next then call('PUBLISH', b .. 'due', '') end
    elseif what == 'r' or from ~= 'p' and from ~= 'g' then
      local is_ready = line_up(b, 'LPUSH', { ticket }, at, what == 'r')
      leave(b, ticket, from)
      if is_ready then wake_ready(b) end
    end
  end
  if what == 'x' or what == 'd' then call('PUBLISH', b .. 'settled', '') end
  return 'ok'
end

register('act', act, { 'allow-oom' })
