-- list: one page of tickets in a state, oldest first.
--
-- KEYS  1 t
-- ARGV  state (s r c x g: by time; p: by line; a: by ticket), rows, then where the page before ended, if it did:
--         s r c x g: time, ticket | p: line (lane and suffix), place | a: ticket
-- Reply the rows: s r c x g: ticket, time ... | p: line, entry, marks ... | a: ticket ...; one row more than asked for
--       tells that there is another page. An entry is `since 6 | turn 4 | ids`: what is left of it behind the page
--       before, and has as many rows as ids. A '1' of the marks tells that a place is void, and no task of the page.
-- Cost  O(rows + log n) by time; p: O(rows + offset in the line + kinds); a: O(active). Reads only.
--
-- A place in a line is the name of an entry, `since 6 | turn 4 | its last id`, and the id behind which to go on: an entry
-- is claimed from its first id, so that its name stays.

-- Most entries of junk that are passed in a line.
local PASSED_MAX = 10000

-- Where in a set the first member after (time, ticket) stands.
local function rank_after(key, time, ticket)
  local low, high = call('ZCOUNT', key, '-inf', '(' .. time), call('ZCOUNT', key, '-inf', time)
  while low < high do
    local middle = floor((low + high) / 2)
    if call('ZRANGE', key, middle, middle)[1] <= ticket then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- The ids of an entry behind this one; all if it is not among them: then it has gone before them.
local function behind(ids, id)
  local at = find_id(ids, id, 1)
  return at and sub(ids, at + 16) or ids
end

-- Which places of an entry are void, a '1' each.
local function voids_in(b, ids, turn)
  local list, marks = {}, {}
  cut(ids, list)
  local places = places_of(b, list, {})
  for i = 1, #list do
    local place = places[list[i]]
    marks[i] = (place and turn < place.turn) and '1' or '0'
  end
  return concat(marks)
end

-- Calls a function with each entry of a line as it is served, until that answers true.
local function walk(key, visit)
  for from = 1, call('LLEN', key), LOOK do
    local entries = call('LRANGE', key, -(from + LOOK - 1), -from)
    for i = #entries, 1, -1 do
      if visit(entries[i]) then return end
    end
  end
end

local function pending(b, rows, line_after, place)
  local lines = lines_of(b)
  table.sort(lines)
  local page, want, any_void = {}, rows + 1, call('EXISTS', b .. 'vp') == 1
  for _, line in ipairs(lines) do
    if want > 0 and (not line_after or line >= line_after) then
      local name, id = line == line_after and sub(place, 1, 26), place and sub(place, 27)
      local passed = 0
      local function add(entry)
        local ids, turn = ids_in(entry)
        local head = ids and sub(entry, 1, 6) .. struct.pack('>I4', turn)
        if name then
          -- What stood before it in the line has gone before it.
          if not ids or head .. sub(ids, -16) ~= name then return false end
          name, ids = false, behind(ids, id)
        end
        if not ids then
          passed = passed + 1
        elseif #ids > 0 then
          page[#page + 1] = line
          page[#page + 1] = head .. ids
          page[#page + 1] = any_void and voids_in(b, ids, turn) or ''
          want = want - #ids / 16
        end
        return want <= 0 or passed > PASSED_MAX
      end
      walk(b .. line, add)
      if name then
        -- The entry is gone itself: the line starts anew.
        name = false
        walk(b .. line, add)
      end
    end
  end
  return page
end

local function active(b, rows, after)
  local tickets, all, told = all_held(b), {}, {}
  for i = 1, #tickets, 2 do
    local ids = {}
    cut(tickets[i + 1], ids)
    for _, id in ipairs(ids) do all[#all + 1] = id .. tickets[i] end
  end
  table.sort(all)
  for i = 1, #all do
    if #told <= rows and (not after or all[i] > after) then told[#told + 1] = all[i] end
  end
  return told
end

local function list(keys, args)
  local b, state, rows = base(keys), args[1], tonumber(args[2])
  if state == 'p' then return pending(b, rows, args[3], args[4]) end
  if state == 'a' then return active(b, rows, args[3]) end
  local from = args[3] and rank_after(b .. state, args[3], args[4]) or 0
  return call('ZRANGE', b .. state, from, from + rows, 'WITHSCORES')
end

register('list', list, { 'no-writes' })
