-- beat: extends leases. What expired is brought back, what was killed is not.
--
-- KEYS  1 t
-- ARGV  lease ms, then sessions.
-- Reply the sessions that are gone, in one string.
-- Cost  O(sessions log n). Allowed when Redis is out of memory.

local function beat(keys, args)
  local b = base(keys)
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local at, gone = now(), {}
  local lease = at + args[1]
  for i = 2, #args do
    local session = args[i]
    if call('ZSCORE', b .. 'l', session) then
      call('ZADD', b .. 'l', lease, session)
    elseif call('ZSCORE', b .. 'q', session) then
      call('ZADD', b .. 'q', lease, session)
    else
      bury_lost(b, session, at)
      gone[#gone + 1] = session
    end
  end
  return concat(gone)
end

register('beat', beat, { 'allow-oom' })
