-- Groups, and where a task goes that is due: into its group, or its line. Not a function of its own.
--
-- A gathering is one opening of a group. Its number has 8 bytes and is higher than those of all others there are (`gs`). Under it
-- `gn` has `since 6 | closed since 6 | kind 5 | name`, closed since 0 while it is open; `go` has the number of the open one under
-- `kind 5 | name`, `gc` when it closes. A closed one waits in `gr`, all scores 0, as `kind 5 | closed since 6 | number`, so that the
-- one of a kind that was closed first is found by its bytes. Its tasks are in `gm:*`, by when they joined; one that has
-- none is nowhere.
--
-- `gt` has, under the id of each task of a group, `gathering 8 | grace 6 | within 6 | most 2 | name`: the number is of
-- where it gathered last, and says nothing once the task is not in `g`.

local GROUP_TYPES = {
  gt = 'hash', go = 'hash', gn = 'hash', g = 'zset', gs = 'zset', gc = 'zset', gr = 'zset',
}
local NO_GATHERING = '\0\0\0\0\0\0\0\0'
local OPEN = '\0\0\0\0\0\0'
-- Between the id and the kind in the ticket of a task of a group: it has no priority.
local PLAIN = '\0\1\0'

-- The same as `of_other_type` of all that groups are kept in, if there are any.
local function groups_wrong(b)
  return call('EXISTS', b .. 'gt') == 1 and of_other_type(b, GROUP_TYPES)
end

-- The open gathering of a group, `kind 5 | name`; a new one, if there is none.
local function opening(b, group, at)
  local number = call('HGET', b .. 'go', group)
  local row = number and call('HGET', b .. 'gn', number)
  if row and #row > 17 then
    return { number = number, since = struct.unpack('>I6', row), tasks = call('ZCARD', b .. 'gm:' .. number) }
  end
  local highest = call('ZRANGE', b .. 'gs', -1, -1)[1]
  local above = highest and #highest == 8 and struct.unpack('>I8', highest) + 1 or 0
  number = struct.pack('>I8', math.max(above, at))
  call('ZADD', b .. 'gs', 0, number)
  call('HSET', b .. 'gn', number, struct.pack('>I6', at) .. OPEN .. group)
  call('HSET', b .. 'go', group, number)
  return { number = number, since = at, tasks = 0 }
end

-- A gathering takes no more tasks, and waits to be claimed.
local function close_gathering(b, number, since)
  local row = call('HGET', b .. 'gn', number)
  if row and #row > 17 then
    local stamp = struct.pack('>I6', since)
    call('ZADD', b .. 'gr', 0, sub(row, 13, 17) .. stamp .. number)
    call('HSET', b .. 'gn', number, sub(row, 1, 6) .. stamp .. sub(row, 13))
    call('HDEL', b .. 'go', sub(row, 13))
  end
  call('ZREM', b .. 'gc', number)
end

-- A gathering without tasks is gone.
local function drop_gathering(b, number)
  local row = call('HGET', b .. 'gn', number)
  if row and sub(row, 7, 12) == OPEN then
    call('HDEL', b .. 'go', sub(row, 13))
  elseif row then
    call('ZREM', b .. 'gr', sub(row, 13, 17) .. sub(row, 7, 12) .. number)
  end
  call('ZREM', b .. 'gc', number)
  call('ZREM', b .. 'gs', number)
  call('HDEL', b .. 'gn', number)
end

-- These tasks of one kind are in their gathering no more.
local function take_from(b, number, kind, ids)
  local key, tickets = b .. 'gm:' .. number, {}
  for i = 1, #ids do tickets[i] = ids[i] .. PLAIN .. kind end
  each('ZREM', b .. 'g', tickets)
  for from = 1, #ids, STEP do
    if is_foreign(try('ZREM', key, unpack(ids, from, min(from + STEP - 1, #ids)))) then clear_line(b, key) end
  end
  if call('EXISTS', key) == 0 then drop_gathering(b, number) end
end

-- Those of these tasks that gather leave their gatherings.
local function leave_groups(b, ids)
  local rows, left = {}, {}
  for from = 1, #ids, STEP do
    local groups = call('HMGET', b .. 'gt', unpack(ids, from, min(from + STEP - 1, #ids)))
    for i = 1, #groups do
      local number = groups[i] and sub(groups[i], 1, 8)
      if number and number ~= NO_GATHERING then
        if rows[number] == nil then rows[number] = call('HGET', b .. 'gn', number) end
        if rows[number] then
          left[number] = left[number] or {}
          table.insert(left[number], ids[from + i - 1])
        end
      end
    end
  end
  for number, some in pairs(left) do take_from(b, number, sub(rows[number], 13, 17), some) end
end

-- Which closed gatherings of a kind were closed first: as many members of `gr`, behind those that are passed.
local function closed_of(b, kind, passed, most)
  return call('ZRANGE', b .. 'gr', '[' .. kind, '(' .. kind .. string.rep('\255', 15), 'BYLEX', 'LIMIT', passed, most)
end

-- The number of a member of `gr`, its kind, and the ids of up to so many of its tasks, in the order in which they joined.
local function gathered(b, member, most)
  local number, ids = sub(member, 12), {}
  local found = try('ZRANGE', b .. 'gm:' .. number, 0, most - 1)
  if is_foreign(found) then
    clear_line(b, b .. 'gm:' .. number)
    found = {}
  end
  for i = 1, #found do
    if #found[i] == 16 then
      ids[#ids + 1] = found[i]
    else
      call('ZREM', b .. 'gm:' .. number, found[i])
      junk(b)
    end
  end
  return number, sub(member, 1, 5), ids
end

-- Closes up to so many gatherings whose time has come. Answers how many.
local function close_due(b, at, most)
  local due = call('ZRANGE', b .. 'gc', '-inf', at, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
  for i = 1, #due, 2 do close_gathering(b, due[i], math.max(tonumber(due[i + 1]), 0)) end
  return #due / 2
end

-- When the first open gathering closes; nothing if there is none.
local function first_closing(b)
  return tonumber(call('ZRANGE', b .. 'gc', 0, 0, 'WITHSCORES')[2])
end

-- Those of these tickets that have a group join it, but for those that are to run alone, a table by id. Answers the others, whether
-- a gathering was closed, and whether one closes before all did until now.
local function join_groups(b, tickets, alone, at)
  local ids, others, open, closed = ids_of(tickets), {}, {}, false
  local groups, first = call('HMGET', b .. 'gt', unpack(ids)), first_closing(b)
  for i = 1, #tickets do
    local group = groups[i]
    if not group or #group < 23 or alone[ids[i]] then
      others[#others + 1] = tickets[i]
    else
      local grace, within, most = struct.unpack('>I6I6I2', group, 9)
      local name = sub(tickets[i], 20) .. sub(group, 23)
      local joined = open[name] or opening(b, name, at)
      local key = b .. 'gm:' .. joined.number
      open[name] = joined
      if is_foreign(try('ZADD', key, at, ids[i])) then
        clear_line(b, key)
        call('ZADD', key, at, ids[i])
      end
      call('ZADD', b .. 'g', at, tickets[i])
      call('HSET', b .. 'gt', ids[i], joined.number .. sub(group, 9))
      joined.tasks, joined.closes = joined.tasks + 1, min(at + grace, joined.since + within)
      if joined.tasks >= most then
        close_gathering(b, joined.number, at)
        open[name], closed = nil, true
      end
    end
  end
  for _, joined in pairs(open) do call('ZADD', b .. 'gc', joined.closes, joined.number) end
  local next_one = first_closing(b)
  local is_next = next_one and (not first or next_one < first)
  if is_next then call('PUBLISH', b .. 'due', '') end
  return others, closed, is_next
end

-- Tickets join their groups, or their lines in their order; if they are to be pending by themselves, their lines. Answers
-- whether anything may be claimed now, and whether a gathering closes before all did until now.
local function line_up(b, push, tickets, at, by_themselves)
  if #tickets == 0 then return false, false end
  local since, alone, places = struct.pack('>I6', at), {}, {}
  local closed, is_next = false, false
  if call('EXISTS', b .. 'z', b .. 'vp', b .. 'gt') > 0 then
    local ids = ids_of(tickets)
    local marks = call('SMISMEMBER', b .. 'z', unpack(ids))
    for i = 1, #ids do alone[ids[i]] = marks[i] == 1 end
    if not by_themselves then tickets, closed, is_next = join_groups(b, tickets, alone, at) end
    places_of(b, ids_of(tickets), places)
  end
  local lines = {}
  for i = 1, #tickets do
    local id = id_of(tickets[i])
    local place = places[id]
    if place and place.void >= VOIDS_MAX then
      place.turn, place.void = place.turn - 1, place.void - 1
    else
      local name = (alone[id] and 'z' or 'p') .. sub(tickets[i], 17)
      local line = lines[name]
      if not line then
        line = { ids = {} }
        lines[name] = line
      end
      line.ids[#line.ids + 1] = id
      if place then
        line.turns = line.turns or {}
        line.turns[#line.ids] = place.turn
      end
    end
    if place then place.stands = true end
  end
  for name, line in pairs(lines) do
    join(b, push, sub(name, 1, 1), sub(name, 2), line.ids, since, line.turns)
  end
  write_places(b, places)
  return closed or #tickets > 0, is_next
end
