-- retire: closes a session to claims and hands back what its worker does not know of, at no cost.
--
-- KEYS  1 t
-- ARGV  session, then the ids of the tasks the worker knows of.
-- Reply how many were handed back. Of a session nobody knows a tombstone is left: its claim may be on its way.
-- Cost  O(claims of the session). Allowed when Redis is out of memory.

local function retire(keys, args)
  local b, session, at = base(keys), args[1], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local lease = call('ZSCORE', b .. 'l', session)
  if lease then
    call('ZREM', b .. 'l', session)
    call('ZADD', b .. 'q', lease, session)
  elseif not call('ZSCORE', b .. 'q', session) then
    bury_lost(b, session, at)
    if not call('ZSCORE', b .. 'e', session) then call('ZADD', b .. 'e', at + HOUR, session) end
    return 0
  end
  local known = {}
  for i = 2, #args do known[args[i]] = true end
  local back = {}
  for _, ticket in ipairs(call('SMEMBERS', b .. 'a:' .. session)) do
    if not is_ticket(ticket) then
      call('SREM', b .. 'a:' .. session, ticket)
      junk(b)
    elseif not known[id_of(ticket)] then
      back[#back + 1] = ticket
    end
  end
  for from = 1, #back, STEP do
    local step = {}
    for i = from, min(from + STEP - 1, #back) do step[#step + 1] = back[i] end
    line_up(b, 'RPUSH', step, at)
  end
  each('SREM', b .. 'a:' .. session, back)
  if #back > 0 then wake_ready(b) end
  return #back
end

register('retire', retire, { 'allow-oom' })
