-- What the functions share. Not a function of its own.
--
-- A ticket: id 16 | priority 1 | tasks in the record 1 | class 1 | kind 5. Its last 8 bytes, the suffix, and
-- a lane (p: shared, z: alone) name the line in which it waits.
--
-- Ids go together where they can, for a string of its own is what a task costs most in Lua:
--   A line is a list of entries `pending since, ms 6 | ids`, in the order in which they are served. What comes is
--   pushed on the left, what goes is popped on the right.
--   What a session holds is a hash of claims: `number 8 | suffix 8` -> ids, in the order in which they were
--   claimed. What is settled is taken out; a claim of which nothing is left is no field. No number comes twice in
--   a session.
-- Each has 1 to ENTRY_IDS ids. Whatever else is found there was not written by us.
--
-- Lines are not searched. A task that leaves its line before its turn leaves its place there, which is void from then
-- on. `vp` has, under its id, `turn 4 | void 2 | stands 1`: its places of earlier turns are void, so many of them are
-- still there, and whether one of this turn is. Its entries are of their own, `pending since 6 | id | turn 4`.

local FORMAT = 1
local HOUR = 3600000
local DAY = 24 * HOUR
local TIME_MAX = 253402300799999
-- How far into a line is looked for its oldest: what was released stands before what is older.
local LOOK = 100
-- Most arguments of one variadic command.
local STEP = 1000
-- Most ids of an entry of a line, and of a claim.
local ENTRY_IDS = 128
-- Most void places of one task. One that would leave more takes its last one again.
local VOIDS_MAX = 100

-- KEYS[1] is the hash of records, `oncue:{namespace/queue}:t`; the other keys differ in what follows the tag. In a
-- cluster KEYS[2] is one that never exists.
local function base(keys)
  return sub(keys[1], 1, -2)
end

local function newer(format)
  -- What is no number was not written by us, and says nothing.
  local number = format and tonumber(format)
  if number and number > FORMAT then
    return redis.error_reply('NEWER this queue was written by a newer version of oncue (format '
      .. number .. ', known here: ' .. FORMAT .. ')')
  end
end

local function fenced(why)
  return redis.error_reply('FENCED this session ' .. why)
end

-- A variadic command over a list of any length.
local function each(command, key, list)
  for from = 1, #list, STEP do
    call(command, key, unpack(list, from, min(from + STEP - 1, #list)))
  end
end

local function id_of(ticket)
  return sub(ticket, 1, 16)
end

local function ids_of(tickets)
  local ids = {}
  for i = 1, #tickets do ids[i] = sub(tickets[i], 1, 16) end
  return ids
end

-- Appends each of these ids to a list.
local function cut(ids, list)
  local n = #list
  for from = 1, #ids, 16 do
    n = n + 1
    list[n] = sub(ids, from, from + 15)
  end
end

-- Whether bytes are ids of one entry or claim.
local function are_ids(bytes)
  return #bytes > 0 and #bytes % 16 == 0 and #bytes <= 16 * ENTRY_IDS
end

-- The ids of an entry, and their turn; none if it is none of ours: whoever may enqueue may also push junk.
local function ids_in(entry)
  local ids = sub(entry, 7)
  if are_ids(ids) then return ids, 0 end
  if #ids == 20 then return sub(ids, 1, 16), struct.unpack('>I4', ids, 17) end
end

-- A list of ids as entries, in the order in which they are served; with the turns of some, by their positions.
local function packed(stamp, ids, turns)
  local entries, from = {}, 1
  while from <= #ids do
    local to = min(from + ENTRY_IDS - 1, #ids)
    if turns then
      for i = from, to do
        if turns[i] then
          to = i > from and i - 1 or i
          break
        end
      end
    end
    local entry = stamp .. concat(ids, '', from, to)
    if turns and turns[from] then entry = entry .. struct.pack('>I4', turns[from]) end
    entries[#entries + 1] = entry
    from = to + 1
  end
  return entries
end

-- The bit of a line in the mask of its kind.
local function line_bit(lane, priority)
  return lshift(1, priority + (lane == 'z' and 10 or 0))
end

-- The mask of a kind as it is stored; what is no number has no lines.
local function mask_of(stored)
  local mask = tonumber(stored or 0) or 0
  return (mask >= 0 and mask < 1048576) and floor(mask) or 0
end

-- What is no ticket of ours is dropped, and counted. A counter that holds something else must not stop a verb
-- half way.
local function tally(b, name, by)
  try('HINCRBY', b .. 'st', name, by)
end

local function junk(b)
  tally(b, 'junk', 1)
end

-- Whether a key holds something else than it should. Any other refusal ends the call, as if it had not been
-- tried: a right that is missing must not look like junk.
local function is_foreign(reply)
  if type(reply) ~= 'table' or not reply.err then return false end
  if find(reply.err, 'WRONGTYPE', 1, true) then return true end
  error(reply)
end

-- A key of another type where a line should be holds no task of ours.
local function clear_line(b, key)
  call('UNLINK', key)
  junk(b)
end

-- Pushes entries onto a line, whatever was put in its place.
local function push_line(b, push, key, list, from, to)
  if is_foreign(try(push, key, unpack(list, from, to))) then
    clear_line(b, key)
    call(push, key, unpack(list, from, to))
  end
end

-- A line may hold something from now on.
local function open_line(b, lane, suffix)
  local kind = sub(suffix, 4)
  local mask = mask_of(call('HGET', b .. 'ln', kind))
  local with = bor(mask, line_bit(lane, byte(suffix)))
  if with ~= mask then call('HSET', b .. 'ln', kind, with) end
end

-- Ids join a line, pending since the time in the stamp: as the last ones (LPUSH) or before all others (RPUSH).
local function join(b, push, lane, suffix, ids, stamp, turns)
  local entries = packed(stamp, ids, turns)
  if push == 'RPUSH' then
    for i = 1, floor(#entries / 2) do
      entries[i], entries[#entries + 1 - i] = entries[#entries + 1 - i], entries[i]
    end
  end
  for from = 1, #entries, STEP do
    push_line(b, push, b .. lane .. suffix, entries, from, min(from + STEP - 1, #entries))
  end
  open_line(b, lane, suffix)
end

-- Adds the places of those of these ids that have void ones to a table by id, if they are not in it yet.
local function places_of(b, ids, places)
  for from = 1, #ids, STEP do
    local found = call('HMGET', b .. 'vp', unpack(ids, from, min(from + STEP - 1, #ids)))
    for i = 1, #found do
      local id = ids[from + i - 1]
      if found[i] and #found[i] == 7 and not places[id] then
        local turn, void, stands = struct.unpack('>I4I2B', found[i])
        places[id] = { turn = turn, void = void, stands = stands == 1 }
      end
    end
  end
  return places
end

local function write_places(b, places)
  local kept, over = {}, {}
  for id, place in pairs(places) do
    if place.stands or place.void > 0 then
      kept[#kept + 1] = id
      kept[#kept + 1] = struct.pack('>I4I2B', place.turn, place.void, place.stands and 1 or 0)
    else
      over[#over + 1] = id
    end
  end
  each('HSET', b .. 'vp', kept)
  each('HDEL', b .. 'vp', over)
end

-- The place of a task that is pending is void.
local function leave_line(b, id)
  local place = places_of(b, { id }, {})[id] or { turn = 0, void = 0 }
  place.turn, place.void, place.stands = place.turn + 1, place.void + 1, false
  write_places(b, { [id] = place })
end

-- The earliest time among these sets; -1 if they are empty. What is not a time of ours is never due.
local function first_time(b, sets)
  local first = -1
  for _, key in ipairs(sets) do
    local head = tonumber(call('ZRANGE', b .. key, 0, 0, 'WITHSCORES')[2])
    if head and head <= TIME_MAX and (first < 0 or head < first) then first = math.max(head, 0) end
  end
  return first
end

-- Which of these keys, names with types, is of another type: a call refuses it before it changes anything.
local function of_other_type(b, types)
  for key, kind in pairs(types) do
    local found = call('TYPE', b .. key).ok
    if found ~= kind and found ~= 'none' then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ' and should be a ' .. kind)
    end
  end
end

-- Where an id stands among others, from a place on.
local function find_id(ids, id, from)
  local at = find(ids, id, from, true)
  while at and at % 16 ~= 1 do at = find(ids, id, at + 1, true) end
  return at
end

-- Whether these bytes are 16 and a suffix: a ticket, or the name of a claim.
local function is_ticket(bytes)
  return #bytes == 24 and byte(bytes, 17) <= 9 and byte(bytes, 18) == 1 and byte(bytes, 19) == 0
end

-- Whether a field found among claims is one of ours.
local function is_claim(field, ids)
  return #field == 16 and is_ticket('        ' .. field) and are_ids(ids)
end

-- Joins ids that come in pieces to as few as a claim or an entry takes. A string that is whole already is not built
-- again: each byte of a new string costs Lua about 3 ns.
local function joined(pieces)
  local all, some, bytes = {}, {}, 0
  for i = 1, #pieces do
    if bytes + #pieces[i] > 16 * ENTRY_IDS then
      all[#all + 1] = #some == 1 and some[1] or concat(some)
      some, bytes = {}, 0
    end
    some[#some + 1] = pieces[i]
    bytes = bytes + #pieces[i]
  end
  if bytes > 0 then all[#all + 1] = #some == 1 and some[1] or concat(some) end
  return all
end

-- Makes claims of ids by line, a list of { suffix, pieces }, numbered from `number`, and has them held by a session.
-- Answers them as functions do: suffix, ids ...
local function hold(b, session, lines, number)
  local fields, told = {}, {}
  for _, line in ipairs(lines) do
    for _, ids in ipairs(joined(line[2])) do
      fields[#fields + 1] = struct.pack('>I8', number) .. line[1]
      fields[#fields + 1] = ids
      told[#told + 1] = line[1]
      told[#told + 1] = ids
      number = number + 1
    end
  end
  each('HSET', b .. 'a:' .. session, fields)
  return told
end

-- The masks of kinds.
local function masks_of(b, kinds)
  local masks = {}
  for from = 1, #kinds, STEP do
    local some = call('HMGET', b .. 'ln', unpack(kinds, from, min(from + STEP - 1, #kinds)))
    for i = 1, #some do masks[from + i - 1] = mask_of(some[i]) end
  end
  return masks
end

-- Ends a session: it neither claims nor settles any more, and what it holds is taken over by a reclaim.
local function bury(b, session, at)
  call('ZADD', b .. 'e', at + HOUR, session)
  if call('EXISTS', b .. 'a:' .. session) == 1 then
    -- Named before it is renamed: one that is named and not there does no harm.
    if is_foreign(try('RPUSH', b .. 'dd', session)) then
      clear_line(b, b .. 'dd')
      call('RPUSH', b .. 'dd', session)
    end
    call('RENAME', b .. 'a:' .. session, b .. 'dead:' .. session)
  end
end

-- A session without a lease that holds claims has lost it by a fault (a key was evicted or deleted): no reclaim
-- would find them. Whoever still names it has them found.
local function bury_lost(b, session, at)
  if call('EXISTS', b .. 'a:' .. session) == 1 then bury(b, session, at) end
end

-- Whether a session may settle.
local function may_settle(b, session)
  if call('ZSCORE', b .. 'l', session) or call('ZSCORE', b .. 'q', session) then return true end
  bury_lost(b, session, now())
  return false
end

-- Something may be claimed: wakes those who found nothing. An empty dequeue left the flag.
local function wake_ready(b)
  if call('DEL', b .. 'i') == 1 then call('PUBLISH', b .. 'ready', '') end
end

-- The names of all lines that may hold something: lane and suffix.
local function lines_of(b)
  local lines, masks = {}, call('HGETALL', b .. 'ln')
  for i = 1, #masks, 2 do
    for line = 0, 19 do
      if band(mask_of(masks[i + 1]), lshift(1, line)) ~= 0 then
        lines[#lines + 1] = (line < 10 and 'p' or 'z') .. char(line % 10, 1, 0) .. masks[i]
      end
    end
  end
  return lines
end

-- The trails of what is claimed, as they are answered: pairs of position and bytes.
local function trails_of(b, told)
  local trails = {}
  if #told == 0 or call('EXISTS', b .. 'tr') == 0 then return trails end
  local ids = {}
  for i = 2, #told, 2 do cut(told[i], ids) end
  for from = 1, #ids, STEP do
    local found = try('HMGET', b .. 'tr', unpack(ids, from, min(from + STEP - 1, #ids)))
    if is_foreign(found) then return {} end
    for i = 1, #found do
      if found[i] then
        trails[#trails + 1] = from + i - 2
        trails[#trails + 1] = found[i]
      end
    end
  end
  return trails
end
