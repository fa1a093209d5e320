-- cancel: a task that waits is archived; one that runs is marked, and its worker told.
--
-- KEYS  1 t
-- ARGV  ticket.
-- Reply x archived, a it runs and is marked, e it had ended, '' there is no such task.
-- Cost  O(active). Allowed when Redis is out of memory.
--
-- A running one has its id in `cn`: whatever ends its claim looks there.

local function cancel(keys, args)
  local b, ticket, at = base(keys), args[1], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local wrong = of_other_type(b, TASK_TYPES) or groups_wrong(b)
  if wrong then return wrong end
  local from = place_of(b, ticket)
  if not from then return '' end
  if from == 'c' or from == 'x' then return 'e' end
  if from == 'a' then
    call('SADD', b .. 'cn', id_of(ticket))
    call('PUBLISH', b .. 'ordered', '')
    return 'a'
  end
  archive(b, ticket, at, CANCELLED)
  leave(b, ticket, from)
  call('PUBLISH', b .. 'settled', '')
  return 'x'
end

register('cancel', cancel, { 'allow-oom' })
