-- enqueue: stores batches for one queue, all of them or nothing.
--
-- KEYS  1 t
-- ARGV  number of batches, then per batch: its id, its number of tasks; then, in the order of the batches,
--       runs of tasks: suffix of their tickets, mode, number of arguments, and those:
--         mode n: due at once, id new. Ids, ENTRY_IDS an argument, fewer in the last one. The records are written
--                 by an HSET that follows in the same MULTI, so that they need not pass through here.
--         mode x: anything. A task is `id 16 | flags 1 | due ms 8 | record`; flags 1: remember its id,
--                 2: due is a time, 4: due is a delay.
-- Reply '' if all were created, else a '1' (created) or '0' (exists or remembered) per task.
--       QFULL: over the limit of the queue, nothing stored.
-- Cost  O(tasks), of mode n mostly O(arguments), plus O(log n) per scheduled one. Not allowed when Redis is out of
--       memory.
--
-- When a task of mode n is not created its record must not stay: its id is put aside in `or`. Every
-- enqueue begins by deleting those, before any of them could get a state again; the tick does, too.

-- How old an id may be to count as new without a look: less than batches are remembered, by a margin.
local NEW = 50 * 60000

-- The common case: one run of mode n, nothing seen before, no limit. False: it is another.
--
-- Ids of mode n tell when they were drawn (UUIDv7: ms in their first 6 bytes). Those drawn lately can only be
-- there already if their batch was seen, which was looked up. Others, and those of a clock that runs ahead,
-- are looked up themselves.
-- A batch draws its ids at once: its first and its last tell of all.
local function enqueue_plain(b, args, first, suffix, at, sizes)
  local last, stamp = #args, struct.pack('>I6', at)
  local look, from = false, 0
  local function look_at(task)
    local drawn = struct.unpack('>I6', args[first + floor(task / ENTRY_IDS)], 1 + 16 * (task % ENTRY_IDS))
    look = look or drawn < at - NEW or drawn > at + 60000
  end
  for batch = 1, #sizes do
    look_at(from)
    look_at(from + sizes[batch] - 1)
    from = from + sizes[batch]
  end
  -- A key of another type is found before anything is written.
  call('HEXISTS', b .. 't', sub(args[first], 1, 16))
  if look then
    local ids = {}
    for i = first, last do cut(args[i], ids) end
    local stored = call('HMGET', b .. 't', unpack(ids))
    for i = 1, #ids do
      if stored[i] then return false end
    end
  end
  for i = first, last do args[i] = stamp .. args[i] end
  push_line(b, 'LPUSH', b .. 'p' .. suffix, args, first, last)
  open_line(b, 'p', suffix)
  return true
end

local function receive(b, hour, batches, seen, stamp)
  local receipts = {}
  for i = 1, #batches do
    if not seen[i] then
      receipts[#receipts + 1] = batches[i]
      receipts[#receipts + 1] = stamp
    end
  end
  if #receipts > 0 then
    call('HSET', b .. 'b:' .. hour, unpack(receipts))
    call('EXPIRE', b .. 'b:' .. hour, 7500)
  end
end

local function enqueue(keys, args)
  local b = base(keys)
  local cfg = call('HMGET', b .. 'cfg', 'v', 'max')
  if newer(cfg[1]) then return newer(cfg[1]) end
  local at = now()
  drop_orphans(b)

  local count, next_arg = tonumber(args[1]), 2
  local batches, sizes = {}, {}
  for i = 1, count do
    batches[i], sizes[i] = args[next_arg], tonumber(args[next_arg + 1])
    next_arg = next_arg + 2
  end
  local hour = floor(at / HOUR)
  local seen, any_seen = {}, false
  -- The next one, too: a clock may have been set back over the hour.
  for slice = hour - 1, hour + 1 do
    local times = call('HMGET', b .. 'b:' .. slice, unpack(batches))
    for i = 1, count do
      if times[i] and at < struct.unpack('>I6', times[i]) + HOUR then
        seen[i], any_seen = true, true
      end
    end
  end

  local stamp = struct.pack('>I6', at)
  if not any_seen and not cfg[2] and args[next_arg + 1] == 'n' and next_arg + 2 + args[next_arg + 2] == #args
    and enqueue_plain(b, args, next_arg + 3, args[next_arg], at, sizes) then
    if not cfg[1] then call('HSET', b .. 'cfg', 'v', FORMAT) end
    receive(b, hour, batches, seen, stamp)
    wake_ready(b)
    return ''
  end

  local ids, items, suffixes = {}, {}, {}
  local n = 0
  while next_arg <= #args do
    local suffix, plain, size = args[next_arg], args[next_arg + 1] == 'n', tonumber(args[next_arg + 2])
    for i = next_arg + 3, next_arg + 2 + size do
      if plain then
        cut(args[i], ids)
      else
        ids[n + 1], items[n + 1] = sub(args[i], 1, 16), args[i]
      end
      while n < #ids do
        n = n + 1
        suffixes[n] = suffix
      end
    end
    next_arg = next_arg + 3 + size
  end

  local stored = call('HMGET', b .. 't', unpack(ids))
  local remembered = nil
  if call('EXISTS', b .. 'd') == 1 then remembered = call('ZMSCORE', b .. 'd', unpack(ids)) end
  local creates, created, twice = {}, 0, {}
  local batch, last = 0, 0
  for i = 1, n do
    while i > last do
      batch = batch + 1
      last = last + sizes[batch]
    end
    local known = stored[i] or (remembered and remembered[i] and at < tonumber(remembered[i])) or twice[ids[i]]
    if not known and not seen[batch] then
      creates[i], created = true, created + 1
      if items[i] then twice[ids[i]] = true end
    end
  end

  local full = false
  local limit = tonumber(cfg[2] or 'x')
  if limit and created > 0 then
    local live = call('HLEN', b .. 't') - call('ZCARD', b .. 'c') - call('ZCARD', b .. 'x')
    full = live + created > limit
  end
  local orphans = {}
  for i = 1, n do
    if not items[i] and not stored[i] and (full or not creates[i]) then orphans[#orphans + 1] = ids[i] end
  end
  each('SADD', b .. 'or', orphans)
  if full then
    return redis.error_reply('QFULL the queue is at its limit of ' .. limit .. ' tasks')
  end
  if not cfg[1] then call('HSET', b .. 'cfg', 'v', FORMAT) end

  local lines, answers = {}, {}
  local first_due = false
  for i = 1, n do
    local pending = creates[i]
    if pending and items[i] then
      local flags, due = struct.unpack('>BI8', items[i], 17)
      if band(flags, 1) == 1 then call('HSET', b .. 'ref', ids[i], 'd') end
      if band(flags, 4) == 4 then due = at + due end
      if due > at then
        local ticket = ids[i] .. suffixes[i]
        call('ZADD', b .. 's', min(due, TIME_MAX), ticket)
        first_due = first_due or call('ZRANGE', b .. 's', 0, 0)[1] == ticket
        pending = false
      end
    end
    if pending then
      local line = lines[suffixes[i]]
      if not line then
        line = {}
        lines[suffixes[i]] = line
      end
      line[#line + 1] = ids[i]
    end
    if created < n then answers[i] = creates[i] and '1' or '0' end
  end
  for suffix, line in pairs(lines) do join(b, 'LPUSH', 'p', suffix, line, stamp) end
  -- After all that may find a key of another type: a record without a state would be a task that exists, for
  -- whoever enqueues it again, and never runs.
  for i = 1, n do
    if creates[i] and items[i] then call('HSET', b .. 't', ids[i], sub(items[i], 26)) end
  end

  receive(b, hour, batches, seen, stamp)
  if next(lines) then wake_ready(b) end
  if first_due then call('PUBLISH', b .. 'due', '') end
  return concat(answers)
end

register('enqueue', enqueue, {})
