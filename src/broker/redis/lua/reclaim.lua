-- reclaim: kills sessions that expired and takes over what they held, and what nobody takes. The one tick of
-- a queue: it also tells what may have been missed, and forgets what is too old to matter.
--
-- KEYS  1 t
-- ARGV  sweep session, lease ms, most tasks, gap ms, grace ms, number of the first claim (those that follow are
--       used, too, as many as tasks), then the kinds the worker knows.
-- Reply claims: suffix, ids ...; trails as pairs of position and bytes; how many of the tasks, from the first,
--       were lost (the others nobody took); 1 if tasks of a known kind are pending, and 2 more if no sweep was
--       here before; the next due time or -1; the server's time.
--       FENCED: the sweep session is retired, dead, or its lease ran out.
-- Cost  O(tasks + sessions killed + kinds pending), each bounded. Allowed when Redis is out of memory.
--
-- After a gap in the ticks of all sweepers nobody is killed for another gap's length: an outage or a jump of
-- the clock is not a death. A sweep that takes nothing leaves no session.

-- Most sessions killed, and most kinds looked at, in one call.
local KILL_MAX, KINDS_MAX = 500, 200
-- Most entries of lines looked at in one call.
local LOOKS_MAX = 5000
-- How many tasks that gather are looked at in one call.
local GATHER_LOOKS = 10
-- Most steps in which what is too old is forgotten.
local TRIMS_MAX = 20
-- Most killed sessions, and most of their claims, looked at in one call: few of them are empty or junk; and how many
-- claims are asked for at once.
local DEAD_MAX, CLAIMS_MAX, CLAIMS_STEP = 1000, 2000, 16

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

-- Moves up to `most` tasks of the dead into the claims of a session, numbered from `number`. Answers those, and how many
-- tasks they are.
local function take_over(b, most, session, number)
  local told, taken, looks = {}, 0, CLAIMS_MAX
  for _ = 1, DEAD_MAX do
    local dead = taken < most and looks > 0 and call('LINDEX', b .. 'dd', 0)
    if not dead then break end
    local key = b .. 'dead:' .. dead
    if is_foreign(try('HLEN', key)) then clear_line(b, key) end
    repeat
      local found = call('HRANDFIELD', key, CLAIMS_STEP, 'WITHVALUES')
      looks = looks - #found / 2
      local lines, over, rest = {}, {}, {}
      for i = 1, #found, 2 do
        local field, ids = found[i], found[i + 1]
        if not is_claim(field, ids) then
          over[#over + 1] = field
          junk(b)
        elseif taken < most then
          local mine = sub(ids, 1, 16 * (most - taken))
          lines[#lines + 1] = { sub(field, 9), { mine } }
          taken = taken + #mine / 16
          if #mine == #ids then
            over[#over + 1] = field
          else
            rest = { field, sub(ids, #mine + 1) }
          end
        end
      end
      -- Held by the one before the other lets go of it: what is held twice is run twice, what nobody holds never.
      local some = hold(b, session, lines, number + #told / 2)
      for i = 1, #some do told[#told + 1] = some[i] end
      each('HSET', key, rest)
      each('HDEL', key, over)
    until #found == 0 or taken >= most or looks <= 0
    if call('EXISTS', key) == 0 then call('LPOP', b .. 'dd') end
  end
  return told, taken
end

-- Takes up to `most` tasks off one line that have been pending since `cutoff` or longer. Answers pieces of ids, turns of some,
-- how many they are, and how many entries were looked at.
local function take_old(key, cutoff, most, looks)
  local pieces, turns, got, looked = {}, {}, 0, 0
  repeat
    local entries, before, younger = try('LRANGE', key, -LOOK, -1), got, 0
    if is_foreign(entries) then entries = {} end
    looked = looked + #entries
    for i = #entries, 1, -1 do
      local ids, turn = ids_in(entries[i])
      if got < most and ids and struct.unpack('>I6', entries[i]) <= cutoff then
        local mine = sub(ids, 1, 16 * (most - got))
        if #mine == #ids then
          call('LREM', key, -1, entries[i])
        else
          -- By now it stands behind those that were left alone.
          call('LSET', key, -younger - 1, sub(entries[i], 1, 6) .. sub(ids, #mine + 1))
        end
        pieces[#pieces + 1] = mine
        if turn > 0 then turns[#pieces] = turn end
        got = got + #mine / 16
      else
        younger = younger + 1
      end
    end
  until got == before or got == most or looked >= looks
  return pieces, turns, got, looked
end

-- Has a session hold up to `most` tasks of unknown kinds that have been pending since `cutoff` or longer, in claims
-- numbered from `number`; appends those to what is told.
local function untaken(b, known, cutoff, most, session, number, told)
  local kinds, looks, marks, places = nil, LOOKS_MAX, marks_of(b), {}
  if call('HLEN', b .. 'ln') > KINDS_MAX then
    kinds = call('HRANDFIELD', b .. 'ln', KINDS_MAX)
  else
    kinds = call('HKEYS', b .. 'ln')
  end
  for _, kind in ipairs(kinds) do
    -- What is no kind has no tasks of ours.
    local mask = (known[kind] or #kind ~= 5) and 0 or mask_of(call('HGET', b .. 'ln', kind))
    for line = 0, 19 do
      if most == 0 or looks <= 0 then return end
      if band(mask, lshift(1, line)) ~= 0 then
        local suffix = char(line % 10, 1, 0) .. kind
        -- Behind those that are not to run stand others.
        local dropped
        repeat
          local key = b .. (line < 10 and 'p' or 'z') .. suffix
          local pieces, turns, got, looked = take_old(key, cutoff, most, looks)
          local taken = { suffix, pieces, turns }
          dropped = drop_void(b, marks, taken, 1, places)
          looks, got = looks - looked, got - dropped
          if got > 0 then
            local some = hold(b, session, { taken }, number + #told / 2)
            if marks.locked then start_locks(b, some, false) end
            for i = 1, #some do told[#told + 1] = some[i] end
            most = most - got
          end
        until dropped == 0 or most == 0 or looks <= 0
        write_places(b, places)
      end
    end
  end
end

-- Has a session hold up to `most` tasks of gatherings of unknown kinds that have been closed since `cutoff` or longer, each in
-- claims numbered from `number`; appends those to what is told.
--
-- Kinds are looked at from another one on at each tick: there may be more of them than KINDS_MAX.
local function untaken_groups(b, known, at, cutoff, most, session, number, told)
  if call('ZCARD', b .. 'gr') == 0 then return end
  local locked, looks, start = marks_of(b).locked, KINDS_MAX, char(floor(at / 1000) % 256)
  for _, range in ipairs({ { '[' .. start, '+' }, { '-', '(' .. start } }) do
    local from = range[1]
    while most > 0 and looks > 0 do
      local member = call('ZRANGE', b .. 'gr', from, range[2], 'BYLEX', 'LIMIT', 0, 1)[1]
      if not member then break end
      looks = looks - 1
      local kind = sub(member, 1, 5)
      if #member ~= 19 then
        call('ZREM', b .. 'gr', member)
        junk(b)
      elseif known[kind] or struct.unpack('>I6', member, 6) > cutoff then
        from = '(' .. kind .. string.rep('\255', 15)
      else
        local gathering, _, ids = gathered(b, member, most)
        local some = hold(b, session, { { PLAIN .. kind, packed('', ids) } }, number + #told / 2)
        take_from(b, gathering, kind, ids)
        -- What names no gathering would be found again and again.
        if #ids == 0 then call('ZREM', b .. 'gr', member) end
        if locked then start_locks(b, some, false) end
        for i = 1, #some do told[#told + 1] = some[i] end
        most = most - #ids
      end
    end
  end
end

local function any_pending(b, kinds)
  local masks, any_closed = masks_of(b, kinds), call('ZCARD', b .. 'gr') > 0
  for i = 1, #kinds do
    if any_closed and #closed_of(b, kinds[i], 0, 1) > 0 then return 1 end
    local mask = masks[i]
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

-- A gathering of which a key was evicted or deleted would never close, or never be claimed: each tick looks at where some of the
-- tasks that gather are.
local function regather(b, at)
  for _, ticket in ipairs(call('ZRANDMEMBER', b .. 'g', GATHER_LOOKS)) do
    local id = id_of(ticket)
    local group = is_ticket(ticket) and call('HGET', b .. 'gt', id)
    if group and #group >= 23 then
      local number = sub(group, 1, 8)
      local row = call('HGET', b .. 'gn', number)
      if not call('ZSCORE', b .. 'gm:' .. number, id) then
        if line_up(b, 'LPUSH', { ticket }, at) then wake_ready(b) end
      else
        if not row or #row <= 17 then
          row = struct.pack('>I6', at) .. OPEN .. sub(ticket, 20) .. sub(group, 23)
          call('HSET', b .. 'gn', number, row)
        end
        if sub(row, 7, 12) == OPEN then
          call('HSETNX', b .. 'go', sub(row, 13), number)
          call('ZADD', b .. 'gc', 'NX', at, number)
        else
          call('ZADD', b .. 'gr', 'NX', 0, sub(row, 13, 17) .. sub(row, 7, 12) .. number)
        end
        call('ZADD', b .. 'gs', 'NX', 0, number)
      end
    end
  end
end

local function forget_old(b, key, at)
  for _ = 1, TRIMS_MAX do
    local old = call('ZRANGE', b .. key, '-inf', at, 'BYSCORE', 'LIMIT', 0, KILL_MAX)
    each('ZREM', b .. key, old)
    if #old < KILL_MAX then return end
  end
end

local function reclaim(keys, args)
  local b, session, most, at = base(keys), args[1], min(tonumber(args[3]), STEP), now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local wrong = groups_wrong(b)
  if wrong then return wrong end
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
  local number = tonumber(args[6])
  local function open()
    if not lease then call('ZADD', b .. 'l', at + args[2], session) end
  end
  local told, lost = take_over(b, most, session, number)
  if lost > 0 then open() end
  local kinds, known = {}, {}
  for i = 7, #args do
    kinds[#kinds + 1] = args[i]
    known[args[i]] = true
  end
  local claims_lost = #told
  if lost < most then
    untaken(b, known, at - args[5], most - lost, session, number, told)
    local tasks = 0
    for i = 2, #told, 2 do tasks = tasks + #told[i] / 16 end
    if tasks < most then untaken_groups(b, known, at, at - args[5], most - tasks, session, number, told) end
  end
  if #told > claims_lost then open() end
  -- Leases of a clock that was set back would last as long as that: whoever lives beats again.
  for _, ahead in ipairs(call('ZRANGE', b .. 'l', at + DAY, '+inf', 'BYSCORE', 'LIMIT', 0, KILL_MAX)) do
    call('ZADD', b .. 'l', at + args[2], ahead)
  end
  drop_orphans(b)
  relearn(b, kinds, at)
  regather(b, at)
  forget_old(b, 'e', at)
  forget_old(b, 'd', at)
  local marks = any_pending(b, kinds) + (is_first and 2 or 0)
  return { told, trails_of(b, told), lost, marks, first_time(b, { 's', 'r', 'c', 'gc' }), at }
end

register('reclaim', reclaim, { 'allow-oom' })
