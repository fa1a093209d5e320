-- cancel: a task that waits is archived; one that runs is marked, and its worker told.
--
-- KEYS  1 t
-- ARGV  ticket.
-- Reply x archived, a it runs and is marked, e it had ended, '' there is no such task.
-- Cost  O(active). Allowed when Redis is out of memory.
--
-- A pending task stays in its line, which is not searched; its id in `cn` tells whoever takes it from there to drop
-- it. A running one has its id in `cn`, too: whatever ends its claim looks there.

local function cancel(keys, args)
  local b, ticket, at = base(keys), args[1], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local id = id_of(ticket)
  if call('HEXISTS', b .. 't', id) == 0 or call('SISMEMBER', b .. 'or', id) == 1 then return '' end
  for _, key in ipairs({ 'c', 'x' }) do
    if call('ZSCORE', b .. key, ticket) then return 'e' end
  end
  local waits = call('ZREM', b .. 's', ticket) + call('ZREM', b .. 'r', ticket) > 0
  if not waits then
    call('SADD', b .. 'cn', id)
    if is_held(b, ticket) then
      call('PUBLISH', b .. 'ordered', '')
      return 'a'
    end
  end
  archive(b, ticket, at, CANCELLED)
  call('PUBLISH', b .. 'settled', '')
  return 'x'
end

register('cancel', cancel, { 'allow-oom' })
