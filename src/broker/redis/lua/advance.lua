-- advance: what is due becomes pending or joins its group, groups close, what was kept long enough or is too much is gone.
--
-- KEYS  1 t
-- ARGV  most tasks.
-- Reply number that became pending or joined a group, number that is gone, the next time something is due (-1: none), 1 if
--       more is due now, the server's time.
-- Cost  O(tasks log n). Allowed when Redis is out of memory.

local function due_by(b, key, at, most)
  local found = call('ZRANGE', b .. key, '-inf', at, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
  local list = {}
  for i = 1, #found, 2 do
    if is_ticket(found[i]) then
      list[#list + 1] = { ticket = found[i], at = tonumber(found[i + 1]), key = key }
    else
      call('ZREM', b .. key, found[i])
      junk(b)
    end
  end
  return list
end

-- Those of these tickets that go before all that waits in their line.
local function firsts_of(b, tickets)
  local first = {}
  if #tickets == 0 or call('EXISTS', b .. 'rf') == 0 then return first end
  local marks = call('SMISMEMBER', b .. 'rf', unpack(ids_of(tickets)))
  for i = 1, #tickets do first[tickets[i]] = marks[i] == 1 end
  return first
end

-- These are deleted, from where they are kept.
local function trim(b, key, tickets)
  if #tickets == 0 then return end
  local ids = ids_of(tickets)
  unlock(b, ids, ALWAYS)
  forget(b, ids, now)
  each('ZREM', b .. key, tickets)
  tally(b, 'trimmed', #tickets)
end

-- Deletes the oldest of what is kept while it is more than `keep`, so many at most. Answers how many, and how many more are
-- too many.
local function trim_beyond(b, key, keep, most)
  if not keep then return 0, 0 end
  local beyond = math.max(call('ZCARD', b .. key) - keep, 0)
  local tickets = {}
  if min(beyond, most) > 0 then tickets = call('ZRANGE', b .. key, 0, min(beyond, most) - 1) end
  trim(b, key, tickets)
  return #tickets, beyond - #tickets
end

-- What is kept too long, or too much of, is gone: so many at most. Answers how many, whether more is to go, and when the oldest of
-- the archive will be.
local function trim_kept(b, cfg, at, most)
  local completed, archived, age = tonumber(cfg[2] or 'x'), tonumber(cfg[3] or 'x'), tonumber(cfg[4] or 'x')
  local gone, left = trim_beyond(b, 'c', completed, most)
  local some, more = trim_beyond(b, 'x', archived, most - gone)
  gone, left = gone + some, left + more
  if not age then return gone, left > 0, -1 end
  local old = {}
  for i, kept in ipairs(due_by(b, 'x', at - age, most - gone)) do old[i] = kept.ticket end
  trim(b, 'x', old)
  local oldest = first_time(b, { 'x' })
  return gone + #old, left > 0, oldest >= 0 and min(oldest + age, TIME_MAX) or -1
end

local function advance(keys, args)
  local b, most, at = base(keys), min(tonumber(args[1]), STEP), now()
  local cfg = call('HMGET', b .. 'cfg', 'v', 'completed', 'archived', 'age')
  if newer(cfg[1]) then return newer(cfg[1]) end
  local grouped = call('EXISTS', b .. 'gt', b .. 'gc') > 0
  local wrong = grouped and of_other_type(b, GROUP_TYPES)
  if wrong then return wrong end
  local closed = grouped and close_due(b, at, most) or 0
  local due = due_by(b, 's', at, most)
  for _, other in ipairs(due_by(b, 'r', at, most)) do due[#due + 1] = other end
  table.sort(due, function(x, y)
    if x.at ~= y.at then return x.at < y.at end
    return x.ticket < y.ticket
  end)
  local moved, from = min(#due, most), { s = {}, r = {} }
  for i = 1, moved do
    local left = from[due[i].key]
    left[#left + 1] = due[i].ticket
  end
  local first = firsts_of(b, from.r)
  local front, behind, over = {}, {}, {}
  for i = 1, moved do
    local ticket = due[i].ticket
    if first[ticket] then
      front[#front + 1] = ticket
      over[#over + 1] = id_of(ticket)
    else
      behind[#behind + 1] = ticket
    end
  end
  local is_ready = line_up(b, 'LPUSH', behind, at)
  is_ready = line_up(b, 'RPUSH', front, at) or is_ready
  each('ZREM', b .. 's', from.s)
  each('ZREM', b .. 'r', from.r)
  each('SREM', b .. 'rf', over)
  if is_ready or closed > 0 then wake_ready(b) end

  local expired = {}
  for i, kept in ipairs(due_by(b, 'c', at, most - moved)) do expired[i] = kept.ticket end
  if #expired > 0 then
    each('ZREM', b .. 'c', expired)
    forget(b, ids_of(expired), now)
  end
  local gone, more, too_old = #expired, false, -1
  if cfg[2] or cfg[3] or cfg[4] then
    local trimmed
    trimmed, more, too_old = trim_kept(b, cfg, at, most - moved - gone)
    gone = gone + trimmed
  end
  if gone > 0 then call('PUBLISH', b .. 'settled', '') end
  local next_due = first_time(b, grouped and { 's', 'r', 'c', 'gc' } or { 's', 'r', 'c' })
  if too_old >= 0 and (next_due < 0 or too_old < next_due) then next_due = too_old end
  more = more or (next_due >= 0 and next_due <= at)
  return { moved, gone, next_due, more and 1 or 0, at }
end

register('advance', advance, { 'allow-oom' })
