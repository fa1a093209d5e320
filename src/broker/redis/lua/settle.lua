-- settle: writes how claims ended, each on its own.
--
-- KEYS  1 t
-- ARGV  session, number of plain ones, then those: tickets of tasks that completed and are gone; then the
--       others, five arguments each: order, ticket, a, c, trail ('' as it is, '-' none, '+' and its bytes).
--         g gone, completed | v gone, not counted | k kept: a ms, c result | r retry: after a ms
--         s snooze: after a ms | l release: into lane a | x archive: a reason, c '1' if it counts as failed
-- Reply '' if all were held and written, else a '1' (written) or '0' (not held) per ticket.
--       FENCED: the session is dead or was never there.
-- Cost  O(tickets), O(log n) for those that wait or are kept. Allowed when Redis is out of memory.

-- The common case: all completed and gone, all held. False: it is another, and nothing was done.
local function settle_plain(b, held_key, args)
  local held = call('SMISMEMBER', held_key, unpack(args, 3, #args))
  for i = 1, #held do
    if held[i] == 0 then return false end
  end
  call('SREM', held_key, unpack(args, 3, #args))
  local ids = {}
  for i = 1, #held do ids[i] = sub(args[i + 2], 1, 16) end
  forget(b, ids, now)
  tally(b, 'completed', #ids)
  call('PUBLISH', b .. 'settled', '')
  return true
end

-- What the orders write to, and as what. A key of another type would stop them half way.
local TYPES = { tr = 'hash', k = 'hash', ln = 'hash', z = 'set', r = 'zset', s = 'zset', c = 'zset', x = 'zset' }

local function of_other_type(b)
  for key, kind in pairs(TYPES) do
    local found = call('TYPE', b .. key).ok
    if found ~= kind and found ~= 'none' then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ' and should be a ' .. kind)
    end
  end
end

local function settle(keys, args)
  local b, session, plain = base(keys), args[1], tonumber(args[2])
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  if not call('ZSCORE', b .. 'l', session) and not call('ZSCORE', b .. 'q', session) then
    bury_lost(b, session, now())
    return fenced('is dead or unknown; its claims belong to others')
  end
  local held_key = b .. 'a:' .. session
  if plain > 0 and plain + 2 == #args and settle_plain(b, held_key, args) then return '' end
  local at = now()
  local tickets, n = {}, plain + (#args - 2 - plain) / 5
  local wrong = n > plain and of_other_type(b)
  if wrong then return wrong end
  for i = 1, plain do tickets[i] = args[2 + i] end
  for i = plain + 1, n do tickets[i] = args[2 + plain + 5 * (i - plain - 1) + 2] end
  if n == 0 then return '' end
  local held, missing = call('SMISMEMBER', held_key, unpack(tickets)), false
  local mine = tickets
  for i = 1, n do
    if held[i] == 0 then
      missing = true
      break
    end
  end
  if missing then
    mine = {}
    for i = 1, n do
      if held[i] == 1 then mine[#mine + 1] = tickets[i] end
    end
  end

  local gone, completed, failed, ended = {}, 0, 0, false
  for i = 1, plain do
    if held[i] == 1 then gone[#gone + 1] = id_of(tickets[i]) end
  end
  completed = #gone
  local released, first_due = {}, false
  local function wait_until(key, ticket, delay)
    call('ZADD', b .. key, min(at + delay, TIME_MAX), ticket)
    first_due = first_due or call('ZRANGE', b .. key, 0, 0)[1] == ticket
  end
  for i = plain + 1, n do
    if held[i] == 1 then
      local from = 2 + plain + 5 * (i - plain - 1)
      local order, ticket, a, c, trail = args[from + 1], tickets[i], args[from + 3], args[from + 4], args[from + 5]
      local id = id_of(ticket)
      if order == 'g' or order == 'v' then
        gone[#gone + 1] = id
        if order == 'g' then completed = completed + 1 end
      else
        if trail == '-' then
          call('HDEL', b .. 'tr', id)
        elseif trail ~= '' then
          call('HSET', b .. 'tr', id, sub(trail, 2))
        end
        if order == 'k' then
          if c ~= '' then call('HSET', b .. 'k', id, c) end
          call('SREM', b .. 'z', id)
          wait_until('c', ticket, a)
          completed, ended = completed + 1, true
        elseif order == 'r' then
          wait_until('r', ticket, a)
          failed = failed + 1
        elseif order == 's' then
          wait_until('s', ticket, a)
        elseif order == 'l' then
          call(a == 'z' and 'SADD' or 'SREM', b .. 'z', id)
          released[#released + 1] = ticket
        elseif order == 'x' then
          call('HSET', b .. 'k', id, '!' .. char(a))
          call('SREM', b .. 'z', id)
          call('ZADD', b .. 'x', at, ticket)
          if c == '1' then failed = failed + 1 end
          ended = true
        end
      end
    end
  end
  if #gone > 0 then
    forget(b, gone, now)
    ended = true
  end
  if #released > 0 then line_up(b, 'RPUSH', released, at) end
  -- Last: if a key of another type stopped this half way, the claims are still held, and found.
  each('SREM', held_key, mine)
  if completed > 0 then tally(b, 'completed', completed) end
  if failed > 0 then tally(b, 'failed', failed) end
  if #released > 0 then wake_ready(b) end
  if first_due then call('PUBLISH', b .. 'due', '') end
  if ended then call('PUBLISH', b .. 'settled', '') end
  if not missing then return '' end
  local answers = {}
  for i = 1, n do answers[i] = held[i] == 1 and '1' or '0' end
  return concat(answers)
end

register('settle', settle, { 'allow-oom' })
