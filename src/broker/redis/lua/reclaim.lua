-- reclaim: kills sessions that expired and takes over what they held, and what nobody takes. The one tick of
-- a queue: it also tells what may have been missed, and forgets what is too old to matter.
--
-- KEYS  1 t
-- ARGV  sweep session, lease ms, most claims, gap ms, grace ms, then the kinds the worker knows.
-- Reply tickets in one string; trails as pairs of position and bytes; how many of the tickets, from the first,
--       were lost (the others nobody took); 1 if tasks of a known kind are pending, and 2 more if no sweep was
--       here before; the next due time or -1; the server's time.
--       FENCED: the sweep session is retired, dead, or its lease ran out.
-- Cost  O(claims + sessions killed + kinds pending), each bounded. Allowed when Redis is out of memory.
--
-- After a gap in the ticks of all sweepers nobody is killed for another gap's length: an outage or a jump of
-- the clock is not a death. A sweep that takes nothing leaves no session.

-- Most sessions killed, and most kinds looked at, in one call.
local KILL_MAX, KINDS_MAX = 500, 200
-- Most entries of lines looked at in one call.
local LOOKS_MAX = 5000
-- Most steps in which what is too old is forgotten.
local TRIMS_MAX = 20
-- Most sets of the dead looked into: few of them are empty or hold junk.
local DEAD_MAX = 1000

local function guarded(b, at, gap)
  local old = call('HMGET', b .. 'st', 'tick', 'guard')
  local tick, guard = tonumber(old[1] or 'x'), tonumber(old[2] or 0) or 0
  if not tick or at - tick >= gap then guard = at + gap end
  -- Another sweeper may have a longer gap; one that lies further ahead is of a clock that was set back.
  guard = min(guard, at + HOUR)
  call('HSET', b .. 'st', 'tick', at, 'guard', guard)
  return at < guard, not tick
end

local function kill(b, key, at)
  for _, session in ipairs(call('ZRANGE', b .. key, '-inf', at, 'BYSCORE', 'LIMIT', 0, KILL_MAX)) do
    call('ZREM', b .. key, session)
    bury(b, session, at)
  end
end

local function take_over(b, most)
  local tickets = {}
  for _ = 1, DEAD_MAX do
    local session = #tickets < most and call('LINDEX', b .. 'dd', 0)
    if not session then break end
    local key = b .. 'dead:' .. session
    if is_foreign(try('SCARD', key)) then clear_line(b, key) end
    for _, ticket in ipairs(call('SPOP', key, most - #tickets)) do
      if is_ticket(ticket) then
        tickets[#tickets + 1] = ticket
      else
        junk(b)
      end
    end
    if call('EXISTS', key) == 0 then call('LPOP', b .. 'dd') end
  end
  return tickets
end

-- Takes up to `most` tasks of unknown kinds that have been pending since `cutoff` or longer, into `held`.
local function untaken(b, known, cutoff, most, tickets, held)
  local kinds, looks = nil, LOOKS_MAX
  if call('HLEN', b .. 'ln') > KINDS_MAX then
    kinds = call('HRANDFIELD', b .. 'ln', KINDS_MAX)
  else
    kinds = call('HKEYS', b .. 'ln')
  end
  for _, kind in ipairs(kinds) do
    local mask = known[kind] and 0 or mask_of(call('HGET', b .. 'ln', kind))
    for line = 0, 19 do
      if most == 0 or looks <= 0 then return end
      if band(mask, lshift(1, line)) ~= 0 then
        local suffix = char(line % 10, 1, 0) .. kind
        local key = b .. (line < 10 and 'p' or 'z') .. suffix
        local entries = try('LRANGE', key, -most - LOOK, -1)
        looks = looks - #entries
        for _, entry in ipairs(is_foreign(entries) and {} or entries) do
          local ticket = sub(entry, 1, 16) .. suffix
          if most > 0 and #entry == ENTRY and struct.unpack('>I6', entry, 17) <= cutoff then
            if is_ticket(ticket) then
              call('SADD', held, ticket)
              tickets[#tickets + 1] = ticket
              most = most - 1
            else
              junk(b)
            end
            call('LREM', key, -1, entry)
          end
        end
      end
    end
  end
end

local function any_pending(b, kinds)
  if #kinds == 0 then return 0 end
  local masks = call('HMGET', b .. 'ln', unpack(kinds))
  for i = 1, #kinds do
    local mask = mask_of(masks[i])
    for line = 0, 19 do
      if band(mask, lshift(1, line)) ~= 0 then
        local suffix = char(line % 10, 1, 0) .. kinds[i]
        if call('EXISTS', b .. (line < 10 and 'p' or 'z') .. suffix) == 1 then return 1 end
      end
    end
  end
  return 0
end

-- A line its mask does not tell of (a key was evicted or deleted) would never be looked at again: each tick looks
-- for the lines of one of its kinds.
local function relearn(b, kinds, at)
  if #kinds == 0 then return end
  local kind = kinds[floor(at / 1000) % #kinds + 1]
  local keys = {}
  for line = 0, 19 do
    keys[line + 1] = b .. (line < 10 and 'p' or 'z') .. char(line % 10, 1, 0) .. kind
  end
  if call('EXISTS', unpack(keys)) == 0 then return end
  local mask = mask_of(call('HGET', b .. 'ln', kind))
  local with = mask
  for line = 0, 19 do
    if call('EXISTS', keys[line + 1]) == 1 then with = bor(with, lshift(1, line)) end
  end
  if with ~= mask then call('HSET', b .. 'ln', kind, with) end
end

local function trim(b, key, at)
  for _ = 1, TRIMS_MAX do
    local old = call('ZRANGE', b .. key, '-inf', at, 'BYSCORE', 'LIMIT', 0, KILL_MAX)
    each('ZREM', b .. key, old)
    if #old < KILL_MAX then return end
  end
end

local function reclaim(keys, args)
  local b, session, most, at = base(keys), args[1], tonumber(args[3]), now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local lease = call('ZSCORE', b .. 'l', session)
  if lease and tonumber(lease) <= at then return fenced('let its lease run out; sweep under a new one') end
  if not lease and (call('ZSCORE', b .. 'e', session) or call('ZSCORE', b .. 'q', session)) then
    return fenced('is closed; sweep under a new one')
  end
  local is_guarded, is_first = guarded(b, at, tonumber(args[4]))
  if not is_guarded then
    kill(b, 'l', at)
    kill(b, 'q', at)
  end
  local tickets, held = take_over(b, most), b .. 'a:' .. session
  local lost = #tickets
  -- At once: what comes next may find a key of another type.
  if lost > 0 then
    each('SADD', held, tickets)
    if not lease then call('ZADD', b .. 'l', at + args[2], session) end
  end
  local kinds, known = {}, {}
  for i = 6, #args do
    kinds[#kinds + 1] = args[i]
    known[args[i]] = true
  end
  if lost < most then untaken(b, known, at - args[5], most - lost, tickets, held) end
  if #tickets > lost and not lease then call('ZADD', b .. 'l', at + args[2], session) end
  -- Leases of a clock that was set back would last as long as that: whoever lives beats again.
  for _, ahead in ipairs(call('ZRANGE', b .. 'l', at + DAY, '+inf', 'BYSCORE', 'LIMIT', 0, KILL_MAX)) do
    call('ZADD', b .. 'l', at + args[2], ahead)
  end
  drop_orphans(b)
  relearn(b, kinds, at)
  trim(b, 'e', at)
  trim(b, 'd', at)
  local all, trails = claims(b, tickets)
  local told = any_pending(b, kinds) + (is_first and 2 or 0)
  return { all, trails, lost, told, first_time(b, { 's', 'r', 'c' }), at }
end

register('reclaim', reclaim, { 'allow-oom' })
