-- advance: what is due becomes pending, what was kept long enough is gone.
--
-- KEYS  1 t
-- ARGV  most tasks.
-- Reply number that became pending, number that is gone, the next time something is due (-1: none), 1 if
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

-- The earliest time among these sets; -1 if they are empty. What is not a time of ours is never due.
local function first_time(b, sets)
  local first = -1
  for _, key in ipairs(sets) do
    local head = tonumber(call('ZRANGE', b .. key, 0, 0, 'WITHSCORES')[2])
    if head and head <= TIME_MAX and (first < 0 or head < first) then first = math.max(head, 0) end
  end
  return first
end

-- Those of these tickets that go before all that waits in their line.
local function firsts_of(b, tickets)
  local first = {}
  if #tickets == 0 or call('EXISTS', b .. 'rf') == 0 then return first end
  local marks = call('SMISMEMBER', b .. 'rf', unpack(ids_of(tickets)))
  for i = 1, #tickets do first[tickets[i]] = marks[i] == 1 end
  return first
end

local function advance(keys, args)
  local b, most, at = base(keys), min(tonumber(args[1]), STEP), now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
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
  line_up(b, 'LPUSH', behind, at)
  line_up(b, 'RPUSH', front, at)
  each('ZREM', b .. 's', from.s)
  each('ZREM', b .. 'r', from.r)
  each('SREM', b .. 'rf', over)
  if moved > 0 then wake_ready(b) end

  local expired = {}
  for i, kept in ipairs(due_by(b, 'c', at, most - moved)) do expired[i] = kept.ticket end
  if #expired > 0 then
    each('ZREM', b .. 'c', expired)
    forget(b, ids_of(expired), now)
    call('PUBLISH', b .. 'settled', '')
  end
  local next_due = first_time(b, { 's', 'r', 'c' })
  return { moved, #expired, next_due, (next_due >= 0 and next_due <= at) and 1 or 0, at }
end

register('advance', advance, { 'allow-oom' })
