-- beat: extends leases. What expired is brought back, what was killed is not.
--
-- KEYS  1 t
-- ARGV  lease ms, then sessions.
-- Reply the sessions that are gone, in one string; the ids of cancelled tasks that others hold, in one string.
-- Cost  O(sessions log n), O(tasks they hold) while something is cancelled. Allowed when Redis is out of memory.

-- Adds what a session holds and is cancelled to a list.
local function doomed(b, session, list)
  local found, ids = call('HGETALL', b .. 'a:' .. session), {}
  for i = 1, #found, 2 do
    if is_claim(found[i], found[i + 1]) then cut(found[i + 1], ids) end
  end
  local marks = cancelled_of(b, ids)
  for i = 1, marks and #ids or 0 do
    if marks[i] == 1 then list[#list + 1] = ids[i] end
  end
end

local function beat(keys, args)
  local b = base(keys)
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local at, gone, cancelled = now(), {}, {}
  local any = any_cancelled(b)
  local lease = at + args[1]
  for i = 2, #args do
    local session, lives = args[i], true
    if call('ZSCORE', b .. 'l', session) then
      call('ZADD', b .. 'l', lease, session)
    elseif call('ZSCORE', b .. 'q', session) then
      call('ZADD', b .. 'q', lease, session)
    else
      bury_lost(b, session, at)
      gone[#gone + 1], lives = session, false
    end
    if lives and any then doomed(b, session, cancelled) end
  end
  return { concat(gone), concat(cancelled) }
end

register('beat', beat, { 'allow-oom' })
