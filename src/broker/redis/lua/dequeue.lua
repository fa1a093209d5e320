-- dequeue: claims pending tasks for a session, and opens the session if it is new.
--
-- KEYS  1 t
-- ARGV  session, lease ms, most tasks, lane (p or z), most records to be answered along, number of the first
--       claim (those that follow are used, too, as many as tasks), then per accepted kind: its hash, most tasks of
--       it.
-- Reply claims: suffix, ids ...; trails as pairs of position and bytes; the records, if they are few and small.
--       FENCED: the session is retired, dead, or its lease ran out.
-- Cost  O(tasks + accepted kinds). Allowed when Redis is out of memory, or it could not be drained.
--
-- Every kind first gets its share, so that none waits behind the backlog of another; then what is left.

-- How often a line is looked at again because tasks were taken off it that are not to run.
local ROUNDS_MAX = 100
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

local function dequeue(keys, args)
  local b, session, most = base(keys), args[1], min(tonumber(args[3]), STEP)
  local cfg = call('HMGET', b .. 'cfg', 'v', 'pause')
  if newer(cfg[1]) then return newer(cfg[1]) end
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

  local lane, kinds = args[4], {}
  if #args > 6 and not cfg[2] then
    local hashes = {}
    for i = 7, #args, 2 do hashes[#hashes + 1] = args[i] end
    local masks = masks_of(b, hashes)
    for i = 1, #hashes do
      local mask, limit = masks[i], tonumber(args[6 + 2 * i])
      local mine = lane == 'z' and floor(mask / 1024) or band(mask, 1023)
      if mine > 0 and limit > 0 then
        kinds[#kinds + 1] = { hash = hashes[i], mask = mask, mine = mine, limit = limit }
      end
    end
  end
  local taken, lines, line_of, marks, places = 0, {}, {}, marks_of(b), {}
  local function take(kind, want)
    for priority = 9, 0, -1 do
      if want == 0 then break end
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
          taken, want, kind.limit = taken + got, want - got, kind.limit - got
          if drained or dropped == 0 then break end
        end
        if drained then
          kind.mine, kind.mask = kind.mine - lshift(1, priority), kind.mask - line_bit(lane, priority)
          kind.drained = true
        end
      end
    end
  end
  local share = #kinds > 0 and ceil(most / #kinds) or 0
  for _, kind in ipairs(kinds) do take(kind, min(share, kind.limit, most - taken)) end
  for _, kind in ipairs(kinds) do take(kind, min(kind.limit, most - taken)) end
  -- Before anything else: what was popped is nowhere until it is held.
  local told = hold(b, session, lines, tonumber(args[6]))
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
  local along = taken > 0 and taken <= min(tonumber(args[5]), STEP)
  return { told, trails_of(b, told), along and records_along(b, told) or {} }
end

register('dequeue', dequeue, { 'allow-oom' })
