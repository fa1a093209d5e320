-- A task as a whole: where it is, its end, and what hangs on it. Not a function of its own.

-- What is written about a task beside its record, its place and its line, and as what. A key of another type would stop
-- a call half way.
local TASK_TYPES = {
  tr = 'hash', k = 'hash', ref = 'hash', nt = 'hash', lk = 'hash', vp = 'hash', ln = 'hash', z = 'set', cn = 'set',
  lr = 'set', rf = 'set', d = 'zset', gt = 'hash',
}
-- How many slots of notes a task has.
local SLOTS = 3

-- The code of the reason of an archive: cancelled.
local CANCELLED = 2

-- A task is archived. In which lane it is stays known: a person may have it run again.
local function archive(b, ticket, at, reason)
  local id = id_of(ticket)
  call('HSET', b .. 'k', id, '!' .. char(reason))
  call('ZADD', b .. 'x', at, ticket)
  if call('EXISTS', b .. 'lk') == 1 then end_lock(b, id) end
end

-- Which of these ids are cancelled, 1 or 0 each; nothing if none is.
local function cancelled_of(b, ids)
  if #ids == 0 or call('EXISTS', b .. 'cn') == 0 then return end
  local all = {}
  for from = 1, #ids, STEP do
    local some = call('SMISMEMBER', b .. 'cn', unpack(ids, from, min(from + STEP - 1, #ids)))
    for i = 1, #some do all[from + i - 1] = some[i] end
  end
  return all
end

-- Whether any task is cancelled.
local function any_cancelled(b)
  return call('EXISTS', b .. 'cn') == 1
end

-- What must be looked at when tasks are taken off lines: whether any is cancelled, any place void, any lock held. Asked
-- before they are: a right that is missing, or a key of another type, must not strand them. And whether closed gatherings
-- wait.
local function marks_of(b)
  if call('EXISTS', b .. 'cn', b .. 'vp', b .. 'lk', b .. 'gr') == 0 then return {} end
  local running = call('SCARD', b .. 'lr')
  return {
    cancelled = call('SCARD', b .. 'cn') > 0, void = call('HLEN', b .. 'vp') > 0,
    locked = call('HLEN', b .. 'lk') + running > 0, closed = call('ZCARD', b .. 'gr') > 0,
  }
end

-- Takes out of ids that were just taken off a line, pieces of a list from one of them on, those whose place is void,
-- and those that are cancelled, which are archived. Answers how many. Of places a table by id is kept, to be written once
-- the others are held.
local function drop_void(b, marks, line, from, places)
  local suffix, pieces, turns, dropped = line[1], line[2], line[3], 0
  if not marks.cancelled and not marks.void then return 0 end
  for at = from, #pieces do
    local list, kept = {}, {}
    cut(pieces[at], list)
    if marks.void then places_of(b, list, places) end
    local cancelled = cancelled_of(b, list) or {}
    for i = 1, #list do
      local place = places[list[i]]
      if place and (turns[at] or 0) < place.turn then
        place.void = math.max(place.void - 1, 0)
      else
        if place then place.stands = false end
        if cancelled[i] ~= 1 then
          kept[#kept + 1] = list[i]
        else
          local ticket = list[i] .. suffix
          if not call('ZSCORE', b .. 'x', ticket) and call('HEXISTS', b .. 't', list[i]) == 1 then
            archive(b, ticket, now(), CANCELLED)
          end
          call('SREM', b .. 'cn', list[i])
        end
      end
    end
    pieces[at] = concat(kept)
    dropped = dropped + #list - #kept
  end
  return dropped
end

-- The notes of tasks go.
local function forget_notes(b, ids)
  if call('EXISTS', b .. 'nt') == 0 then return end
  local fields = {}
  for i = 1, #ids do
    for slot = 0, SLOTS - 1 do fields[#fields + 1] = ids[i] .. char(slot) end
  end
  each('HDEL', b .. 'nt', fields)
end

-- How many bytes these tasks' records have.
local function bytes_of(b, ids)
  local bytes = 0
  for i = 1, #ids do bytes = bytes + call('HSTRLEN', b .. 't', ids[i]) end
  return bytes
end

-- So many bytes of records come or go; `by` is there only while there is a limit for them.
local function count_bytes(b, more)
  local told = try('INCRBY', b .. 'by', more)
  local is_odd = type(told) == 'table' and find(told.err, 'not an integer', 1, true)
  if is_odd or is_foreign(told) then junk(b) end
end

-- Tasks are gone: all that hangs on them goes too. An id with a key of its own is remembered for a day.
-- The clock is asked only if it matters: it costs as much as many a command.
local function forget(b, ids, clock)
  local hangs = call('EXISTS', b .. 'tr', b .. 'k', b .. 'z', b .. 'ref', b .. 'cn', b .. 'nt', b .. 'lk', b .. 'lr',
    b .. 'gt', b .. 'by') > 0
  if hangs and call('EXISTS', b .. 'by') == 1 then count_bytes(b, -bytes_of(b, ids)) end
  each('HDEL', b .. 't', ids)
  if not hangs then return end
  each('HDEL', b .. 'tr', ids)
  each('HDEL', b .. 'k', ids)
  each('SREM', b .. 'z', ids)
  each('SREM', b .. 'cn', ids)
  if call('EXISTS', b .. 'ref', b .. 'nt', b .. 'lk', b .. 'lr', b .. 'gt') == 0 then return end
  unlock(b, ids, UNTIL_END)
  each('HDEL', b .. 'lk', ids)
  each('SREM', b .. 'lr', ids)
  leave_groups(b, ids)
  each('HDEL', b .. 'gt', ids)
  forget_notes(b, ids)
  for from = 1, #ids, STEP do
    local to = min(from + STEP - 1, #ids)
    local refs = call('HMGET', b .. 'ref', unpack(ids, from, to))
    for i = from, to do
      if refs[i - from + 1] then
        call('ZADD', b .. 'd', clock() + DAY, ids[i])
        call('HDEL', b .. 'ref', ids[i])
      end
    end
  end
end

-- Records that must not stay are deleted: of tasks that were not created though their records were written.
local function drop_orphans(b)
  if call('EXISTS', b .. 'or') == 1 then
    each('HDEL', b .. 't', call('SMEMBERS', b .. 'or'))
    call('DEL', b .. 'or')
  end
end

-- Everything that sessions hold, those that were killed included: lists of ids by their suffixes, suffix, ids ...
-- What is no claim of ours holds nothing. O(active): for readers only.
local function all_held(b)
  local all, seen = {}, {}
  local function gather(kind, sessions)
    for _, session in ipairs(sessions) do
      local key = b .. kind .. session
      local found = seen[key] and {} or call('HGETALL', key)
      seen[key] = true
      for i = 1, #found, 2 do
        if is_claim(found[i], found[i + 1]) then
          all[#all + 1] = sub(found[i], 9)
          all[#all + 1] = found[i + 1]
        end
      end
    end
  end
  gather('a:', call('ZRANGE', b .. 'l', 0, -1))
  gather('a:', call('ZRANGE', b .. 'q', 0, -1))
  gather('dead:', call('LRANGE', b .. 'dd', 0, -1))
  return all
end

-- How many tasks are active, and how many of each kind.
local function active_of(b)
  local total, kinds, all = 0, {}, all_held(b)
  for i = 1, #all, 2 do
    local kind, tasks = sub(all[i], 4), #all[i + 1] / 16
    total, kinds[kind] = total + tasks, (kinds[kind] or 0) + tasks
  end
  return total, kinds
end

-- Whether a session holds a task. Who may not see what is held is told that none does.
local function is_held(b, ticket)
  if not redis.acl_check_cmd('HGETALL', b .. 'a:') then return false end
  local id, suffix, all = id_of(ticket), sub(ticket, 17), all_held(b)
  for i = 1, #all, 2 do
    if all[i] == suffix and find_id(all[i + 1], id, 1) then return true end
  end
  return false
end

-- Where a task is: s, r, c, x, g as the keys are called, else p pending or a active; nothing if there is none.
local function place_of(b, ticket)
  local id = id_of(ticket)
  if call('HEXISTS', b .. 't', id) == 0 or call('SISMEMBER', b .. 'or', id) == 1 then return end
  for _, key in ipairs({ 's', 'r', 'c', 'x', 'g' }) do
    local score = call('ZSCORE', b .. key, ticket)
    if score then return key, tonumber(score) end
  end
  return is_held(b, ticket) and 'a' or 'p'
end

-- A task leaves its place, which is not active; it has another one already, or none from now on.
local function leave(b, ticket, place)
  local id = id_of(ticket)
  if place == 'p' then
    leave_line(b, id)
  else
    if place == 'g' then leave_groups(b, { id }) end
    call('ZREM', b .. place, ticket)
    if place == 'r' then call('SREM', b .. 'rf', id) end
    if place == 'x' then call('HDEL', b .. 'k', id) end
  end
end

-- A task is due then: scheduled, if that is after now. Answers whether it is the next one.
local function schedule(b, ticket, due)
  call('ZADD', b .. 's', min(due, TIME_MAX), ticket)
  return call('ZRANGE', b .. 's', 0, 0)[1] == ticket
end
