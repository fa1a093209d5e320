-- dequeue: claims pending tasks for a session, and opens the session if it is new.
--
-- KEYS  1 t
-- ARGV  session, lease ms, most tasks, lane (p or z), most records to be answered along, number of the first
--       claim (those that follow are used, too, up to ANSWER_MAX), then per accepted kind: its hash, most tasks of
--       it.
-- Reply claims: suffix, ids ...; trails as pairs of position and bytes; the records, if they are few and small; of how many
--       tasks each gathering is: theirs are the first claims.
--       FENCED: the session is retired, dead, or its lease ran out.
-- Cost  O(tasks + accepted kinds), O(active) more where a limit of active tasks is set. Allowed when Redis is out of memory,
--       or it could not be drained.
--
-- Every kind first gets its share, so that none waits behind the backlog of another; then what is left. A closed gathering is
-- claimed whole, and counts as one task of those asked for.

-- How often a line is looked at again because tasks were taken off it that are not to run.
local ROUNDS_MAX = 100
-- Most claims of one answer, those of gatherings included.
local ANSWER_MAX = 1000
-- The fractional part of the golden ratio.
local GOLDEN = 0.6180339887498949
-- Most bytes of records that are answered along.
local ALONG_BYTES_MAX = 65536

-- Puts back entries from a place on, of those that were popped last.
local function put_back(key, entries, from)
  local back = {}
  for i = #entries, from, -1 do back[#back + 1] = entries[i] end
  each('RPUSH', key, back)
end

-- Takes up to so many ids off a line, and appends them to its pieces. Answers how many they are, and whether the line is
-- drained.
local function pop(b, key, want, line)
  local pieces, turns, got, popped = line[2], line[3], 0, 0
  -- Entries may be full or of one id each: what is popped in vain is never more than what was popped before it.
  local asked = ceil(want / ENTRY_IDS)
  while true do
    local entries = try('RPOP', key, asked) or {}
    if is_foreign(entries) then
      clear_line(b, key)
      entries = {}
    end
    for i = 1, #entries do
      local ids, turn = ids_in(entries[i])
      if not ids then
        junk(b)
      elseif got == want then
        put_back(key, entries, i)
        return got, false
      elseif got + #ids / 16 > want then
        local cut_at = 16 * (want - got)
        entries[i] = sub(entries[i], 1, 6) .. sub(ids, cut_at + 1)
        pieces[#pieces + 1] = sub(ids, 1, cut_at)
        put_back(key, entries, i)
        return want, false
      else
        pieces[#pieces + 1] = ids
        if turn > 0 then turns[#pieces] = turn end
        got = got + #ids / 16
      end
    end
    popped = popped + #entries
    if #entries < asked then return got, true end
    -- Tasks behind junk are reached, but not at any price.
    if got == want or popped >= STEP then return got, false end
    asked = min(2 * asked, want - got)
  end
end

local function records_along(b, told)
  local ids, bytes = {}, 0
  for i = 2, #told, 2 do cut(told[i], ids) end
  local records = call('HMGET', b .. 't', unpack(ids))
  for i = 1, #records do bytes = bytes + #(records[i] or '') end
  return bytes <= ALONG_BYTES_MAX and records or {}
end

-- How many more tasks may be active, in all and of each of these kinds; huge where there is no limit.
local function rooms_of(b, kinds, limit, any_of_kinds)
  local total, active = active_of(b)
  local limits = {}
  if any_of_kinds then
    local hashes = {}
    for i = 1, #kinds do hashes[i] = kinds[i].hash end
    for from = 1, #hashes, STEP do
      local some = call('HMGET', b .. 'kc', unpack(hashes, from, min(from + STEP - 1, #hashes)))
      for i = 1, #some do limits[from + i - 1] = some[i] end
    end
  end
  for i = 1, #kinds do
    local most = limits[i] and tonumber(string.match(limits[i], '^%d+'))
    if most then kinds[i].room = most - (active[kinds[i].hash] or 0) end
  end
  local most = tonumber(limit or 'x')
  return most and most - total or math.huge
end

local function dequeue(keys, args)
  local b, session, most = base(keys), args[1], min(tonumber(args[3]), STEP)
  local cfg = call('HMGET', b .. 'cfg', 'v', 'pause', 'run', 'kinds')
  if newer(cfg[1]) then return newer(cfg[1]) end
  local lane, marks = args[4], marks_of(b)
  local any_closed = marks.closed and lane == 'p'
  local wrong = any_closed and of_other_type(b, GROUP_TYPES)
  if wrong then return wrong end
  local at = now()
  local lease = call('ZSCORE', b .. 'l', session)
  if lease then
    if tonumber(lease) <= at then return fenced('let its lease run out; claim under a new one') end
  else
    if call('ZSCORE', b .. 'e', session) or call('ZSCORE', b .. 'q', session) then
      return fenced('is closed; claim under a new one')
    end
    call('ZADD', b .. 'l', at + args[2], session)
  end

  local kinds = {}
  if #args > 6 and not cfg[2] then
    local hashes = {}
    for i = 7, #args, 2 do hashes[#hashes + 1] = args[i] end
    local masks = masks_of(b, hashes)
    for i = 1, #hashes do
      local mask, limit = masks[i], tonumber(args[6 + 2 * i])
      local mine = lane == 'z' and floor(mask / 1024) or band(mask, 1023)
      local gathers = any_closed and #closed_of(b, hashes[i], 0, 1) > 0
      if (mine > 0 or gathers) and limit > 0 then
        kinds[#kinds + 1] = {
          hash = hashes[i], mask = mask, mine = mine, limit = limit, room = math.huge, gathers = gathers, passed = 0,
        }
      end
    end
  end
  local room = math.huge
  if (cfg[3] or cfg[4]) and #kinds > 0 then room = rooms_of(b, kinds, cfg[3], cfg[4]) end
  -- `taken` counts a gathering as one, `claimed` each of its tasks.
  local taken, claimed, lines, line_of, places, gatherings = 0, 0, {}, {}, {}, {}
  local function count(kind, units, tasks)
    taken, claimed, kind.limit = taken + units, claimed + tasks, kind.limit - units
    room, kind.room = room - tasks, kind.room - tasks
  end
  -- Takes up to so many closed gatherings of a kind. Answers how many more are wanted then.
  local function take_gatherings(kind, want)
    for _, member in ipairs(closed_of(b, kind.hash, kind.passed, math.max(want, 0))) do
      if room <= 0 or kind.room <= 0 then break end
      local number, _, ids = gathered(b, member, ANSWER_MAX)
      -- One for which there is no room in this answer waits for the next.
      if claimed > 0 and claimed + #ids > ANSWER_MAX then break end
      kind.passed = kind.passed + 1
      gatherings[#gatherings + 1] = { member = member, number = number, kind = kind.hash, ids = ids }
      if #ids > 0 then
        count(kind, 1, #ids)
        want = want - 1
      end
    end
    return want
  end
  local function take(kind, want)
    if kind.gathers then want = take_gatherings(kind, want) end
    for priority = 9, 0, -1 do
      want = min(want, room, kind.room, ANSWER_MAX - claimed)
      if want <= 0 then break end
      if band(kind.mine, lshift(1, priority)) ~= 0 then
        local suffix = char(priority, 1, 0) .. kind.hash
        local line = line_of[suffix]
        if not line then
          line = { suffix, {}, {} }
          line_of[suffix] = line
          lines[#lines + 1] = line
        end
        local drained
        for _ = 1, ROUNDS_MAX do
          local from, got = #line[2] + 1, nil
          got, drained = pop(b, b .. lane .. suffix, want, line)
          local dropped = drop_void(b, marks, line, from, places)
          got = got - dropped
          want = want - got
          count(kind, got, got)
          if drained or dropped == 0 then break end
        end
        if drained then
          kind.mine, kind.mask = kind.mine - lshift(1, priority), kind.mask - line_bit(lane, priority)
          kind.drained = true
        end
      end
    end
  end
  -- Where there is less room than there are kinds, another one comes first each time. By the golden ratio, so that no stride
  -- of the numbers keeps one back.
  local share = #kinds > 0 and ceil(most / #kinds) or 0
  local first = floor(tonumber(args[6]) / ANSWER_MAX * GOLDEN % 1 * #kinds)
  for i = 1, 2 * #kinds do
    local kind = kinds[(first + i - 1) % #kinds + 1]
    take(kind, min(i <= #kinds and share or most, kind.limit, most - taken))
  end
  -- Before anything else: what was popped is nowhere until it is held.
  local told, sizes, number = {}, {}, tonumber(args[6])
  for _, gathering in ipairs(gatherings) do
    if #gathering.ids > 0 then
      local some = hold(b, session, { { PLAIN .. gathering.kind, packed('', gathering.ids) } }, number + #told / 2)
      for i = 1, #some do told[#told + 1] = some[i] end
      sizes[#sizes + 1] = #gathering.ids
    end
  end
  local singly = hold(b, session, lines, number + #told / 2)
  if #told == 0 then
    told = singly
  else
    for i = 1, #singly do told[#told + 1] = singly[i] end
  end
  for _, gathering in ipairs(gatherings) do
    take_from(b, gathering.number, gathering.kind, gathering.ids)
    -- What names no gathering would be found again and again.
    if #gathering.ids == 0 then call('ZREM', b .. 'gr', gathering.member) end
  end
  write_places(b, places)
  if marks.locked then start_locks(b, told, true) end
  for _, kind in ipairs(kinds) do
    if kind.drained and kind.mask == 0 then
      call('HDEL', b .. 'ln', kind.hash)
    elseif kind.drained then
      call('HSET', b .. 'ln', kind.hash, kind.mask)
    end
  end

  if taken < most then call('SET', b .. 'i', 1) end
  local along = claimed > 0 and claimed <= min(tonumber(args[5]), STEP)
  return { told, trails_of(b, told), along and records_along(b, told) or {}, sizes }
end

register('dequeue', dequeue, { 'allow-oom' })
