-- enqueue: stores batches for one queue, all of them or nothing.
--
-- KEYS  1 t
-- ARGV  number of batches, the tick of a batch that is alone ('' none), then per batch: its id, its number of tasks, the bytes
--       of its records of mode n;
--       then, in the order of the batches, runs of tasks: suffix of their tickets, mode, number of arguments, and those:
--         mode n: due at once, id new. Ids, ENTRY_IDS an argument, fewer in the last one. The records are written
--                 by an HSET that follows in the same MULTI, so that they need not pass through here.
--         mode x: anything. A task is `id 16 | flags 1 | due ms 8 | lock | group | record`; flags 1: remember its id,
--                 2: due is a time, 4: due is a delay, 8: before all that waits, 16: it wants a lock, 32: it is of a
--                 group: `bytes of its name 1 | grace 6 | within 6 | most 2 | name`.
-- Reply '' if all were created, else a letter per task, then an id for each h, r and m among them:
--         1 created | 0 exists or remembered | h its lock is held by that task | r created in place of that one
--         m that one is due when it would have been | l the tick is somebody else's
--       A '!' before all that: a gathering closes before all did until now.
--       QFULL: over a limit of the queue, nothing stored.
-- Cost  O(tasks), of mode n mostly O(arguments), plus O(log n) per scheduled one and per holder that is moved or gone.
--       Not allowed when Redis is out of memory.
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

-- Where what follows the lock begins in an item of mode x, and where its record does.
local function parts_of(item, flags)
  local group = band(flags, 16) == 0 and 26 or 46 + 16 * byte(item, 26)
  return group, band(flags, 32) == 0 and group or group + 15 + byte(item, group)
end

-- How many bytes of records come, for a batch that is new by the sum of its mode n, and how many go.
local function bytes_planned(b, batches, seen, sums, owners, ids, items, flags, stored, creates, drops)
  local bytes = 0
  for batch = 1, #batches do
    if not seen[batch] then bytes = bytes + sums[batch] end
  end
  for i = 1, #ids do
    if items[i] and creates[i] then
      local _, record = parts_of(items[i], flags[i])
      bytes = bytes + #items[i] - record + 1
    elseif not items[i] and not creates[i] and not seen[owners[i]] then
      -- It is there already, and its id is of this very record.
      bytes = bytes - #(stored[i] or '')
    end
  end
  local gone = {}
  for i, drop in ipairs(drops) do gone[i] = id_of(drop.ticket) end
  return bytes, bytes_of(b, gone)
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

-- Holders that are gone from where they waited.
local function drop_all(b, drops)
  local ids = {}
  for i, drop in ipairs(drops) do ids[i] = id_of(drop.ticket) end
  if #ids > 0 then forget(b, ids, now) end
  for _, drop in ipairs(drops) do leave(b, drop.ticket, drop.from) end
end

-- What tasks of groups do in one call, in turn: one that is replaced or moved by a later one of its own batch did join its
-- group before, and may have closed it. `fresh` has the groups of new tasks by id. Answers whether a gathering was closed, and whether
-- one closes before all did until now.
local function replay(b, events, fresh, twice, at)
  local is_ready, is_next = false, false
  for _, event in ipairs(events) do
    local id = id_of(event.ticket)
    if event.op == 'join' then
      if fresh[id] then call('HSET', b .. 'gt', id, fresh[id]) end
      local alone = { [id] = call('SISMEMBER', b .. 'z', id) == 1 }
      local _, closed, earlier = join_groups(b, { event.ticket }, alone, at)
      is_ready, is_next = is_ready or closed, is_next or earlier
    elseif event.op == 'drop' then
      if event.from == 'g' and not twice[id] then drop_all(b, { event }) end
    else
      leave_groups(b, { id })
      if event.op == 'ghost' then call('HDEL', b .. 'gt', id) end
    end
  end
  return is_ready, is_next
end

local function enqueue(keys, args)
  local b = base(keys)
  local cfg = call('HMGET', b .. 'cfg', 'v', 'max', 'bytes')
  if newer(cfg[1]) then return newer(cfg[1]) end
  local at = now()
  drop_orphans(b)

  local count, tick, next_arg = tonumber(args[1]), args[2], 3
  local batches, sizes, sums = {}, {}, {}
  for i = 1, count do
    batches[i], sizes[i], sums[i] = args[next_arg], tonumber(args[next_arg + 1]), tonumber(args[next_arg + 2])
    next_arg = next_arg + 3
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
  local is_limited = cfg[2] or cfg[3]
  if tick == '' and not any_seen and not is_limited and args[next_arg + 1] == 'n' and next_arg + 2 + args[next_arg + 2] == #args
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

  -- A batch that was seen is not late, though its tick is over.
  local ticks = tick ~= '' and not any_seen and ticks_seen(b, tick)
  if tick ~= '' and not any_seen and not ticks then return string.rep('l', n) end

  local stored, remembered = {}, nil
  if n > 0 then stored = call('HMGET', b .. 't', unpack(ids)) end
  if n > 0 and call('EXISTS', b .. 'd') == 1 then remembered = call('ZMSCORE', b .. 'd', unpack(ids)) end
  local plan, answers, holders, created, twice = new_plan(), {}, {}, 0, {}
  local creates, owners, flags = {}, {}, {}
  local batch, last, first = 0, 0, nil
  for i = 1, n do
    while i > last do
      batch = batch + 1
      last = last + sizes[batch]
    end
    owners[i], answers[i] = batch, '0'
    local id, item = ids[i], items[i]
    local known = (stored[i] and not plan.gone[id]) or twice[id]
      or (remembered and remembered[i] and at < tonumber(remembered[i]))
    if not known and not seen[batch] then
      local code, holder, due = '1', nil, at
      if item then
        flags[i], due = struct.unpack('>BI8', item, 17)
        if band(flags[i], 6) == 0 then due = at end
        if band(flags[i], 4) == 4 then due = at + due end
        if band(flags[i], 16) == 16 then code, holder, due = plan_lock(b, plan, id .. suffixes[i], item, due, at) end
      end
      if code == '1' or code == 'r' then
        for _, dropped in ipairs(plan.dropped) do
          creates[dropped], created = nil, created - 1
          if band(flags[dropped], 1) == 1 then
            plan.remember[#plan.remember + 1] = ids[dropped]
          else
            twice[ids[dropped]] = nil
          end
        end
        plan.dropped = {}
        creates[i], created, first = true, created + 1, first or id
        plan.turn = plan.turn + 1
        plan.dues[i], plan.turns[i] = due, plan.turn
        if item and band(flags[i], 32) == 32 and due <= at then
          plan.events[#plan.events + 1] = { op = 'join', ticket = id .. suffixes[i] }
        end
        if item then twice[id] = true end
        if plan.held[id] then plan.new[id] = i end
      end
      answers[i] = code
      holders[#holders + 1] = holder
    end
  end

  local full, full_bytes, net = false, false, created - #plan.drops
  local limit = tonumber(cfg[2] or 'x')
  if limit and net > 0 then
    local live = call('HLEN', b .. 't') - call('ZCARD', b .. 'c') - call('ZCARD', b .. 'x')
    full = live + net > limit
  end
  local limit_bytes, bytes, freed = tonumber(cfg[3] or 'x'), 0, 0
  if limit_bytes then
    bytes, freed = bytes_planned(b, batches, seen, sums, owners, ids, items, flags, stored, creates, plan.drops)
    local there = tonumber(call('GET', b .. 'by') or 0) or 0
    full_bytes = bytes > freed and there + bytes - freed > limit_bytes
  end
  local fresh, any_group = {}, false
  for i = 1, n do
    if flags[i] and band(flags[i], 32) == 32 then
      local from, record = parts_of(items[i], flags[i])
      fresh[ids[i]], any_group = NO_GATHERING .. sub(items[i], from + 1, record - 1), true
    end
  end
  local wrong = next(plan.locks) and (of_other_type(b, TASK_TYPES) or groups_wrong(b))
    or any_group and of_other_type(b, GROUP_TYPES)
  if wrong then return wrong end
  local orphans = {}
  for i = 1, n do
    if not items[i] and not stored[i] and (full or full_bytes or not creates[i]) then orphans[#orphans + 1] = ids[i] end
  end
  each('SADD', b .. 'or', orphans)
  if full then
    return redis.error_reply('QFULL the queue is at its limit of ' .. limit .. ' tasks')
  end
  if full_bytes then
    return redis.error_reply('QFULL the queue is at its limit of ' .. cfg[3] .. ' bytes')
  end
  if not cfg[1] then call('HSET', b .. 'cfg', 'v', FORMAT) end

  -- What is replaced goes when all that takes its place is there, unless it comes back itself, or gathers: then it goes in turn.
  local replaced = { {}, {} }
  for _, drop in ipairs(plan.drops) do
    local comes_back = twice[id_of(drop.ticket)]
    local list = replaced[comes_back and 1 or 2]
    if comes_back or drop.from ~= 'g' then list[#list + 1] = drop end
  end
  drop_all(b, replaced[1])

  local waiting, fronts, is_next, is_ready = {}, {}, false, false
  for i = 1, n do
    if creates[i] then
      local ticket, due = ids[i] .. suffixes[i], plan.dues[i]
      if items[i] and band(flags[i], 1) == 1 then call('HSET', b .. 'ref', ids[i], 'd') end
      if items[i] and fresh[ids[i]] then call('HSET', b .. 'gt', ids[i], fresh[ids[i]]) end
      if due > at then
        is_next = schedule(b, ticket, due) or is_next
      elseif items[i] and band(flags[i], 8) == 8 and not plan.behind[i] then
        local front = fronts[owners[i]] or {}
        fronts[owners[i]] = front
        front[#front + 1] = ticket
      else
        waiting[#waiting + 1] = { ticket = ticket, turn = plan.turns[i] }
      end
    end
  end
  -- A holder has its new place before it leaves the old one, but for one that is to stand anew in its line. One that gathered
  -- leaves and joins in turn.
  local left = {}
  for _, move in pairs(plan.moves) do
    if move.due > at then
      is_next = schedule(b, move.ticket, move.due) or is_next
      if move.from ~= 's' then left[#left + 1] = move end
    elseif move.left then
      waiting[#waiting + 1] = move
      if move.from == 'p' then leave(b, move.ticket, 'p') elseif move.from ~= 'g' then left[#left + 1] = move end
    end
  end
  local closed, closes_first = false, false
  if next(plan.locks) and #plan.events > 0 and (any_group or call('EXISTS', b .. 'gt') == 1) then
    closed, closes_first = replay(b, plan.events, fresh, twice, at)
    local others = {}
    for _, one in ipairs(waiting) do
      if not call('ZSCORE', b .. 'g', one.ticket) then others[#others + 1] = one end
    end
    waiting = others
  end
  if next(items) and (any_group or next(plan.moves) or next(plan.behind) or call('EXISTS', b .. 'vp') == 1) then
    table.sort(waiting, function(x, y) return x.turn < y.turn end)
    local tickets = {}
    for i = 1, #waiting do tickets[i] = waiting[i].ticket end
    local is_next_group
    is_ready, is_next_group = line_up(b, 'LPUSH', tickets, at)
    is_ready, closes_first = is_ready or closed, closes_first or is_next_group
  else
    local lines = {}
    for i = 1, #waiting do
      local suffix = sub(waiting[i].ticket, 17)
      local line = lines[suffix] or {}
      lines[suffix] = line
      line[#line + 1] = id_of(waiting[i].ticket)
    end
    for suffix, line in pairs(lines) do join(b, 'LPUSH', 'p', suffix, line, stamp) end
    is_ready = #waiting > 0
  end
  for of = 1, count do
    if fronts[of] then
      line_up(b, 'RPUSH', fronts[of], at)
      is_ready = true
    end
  end
  for _, move in ipairs(left) do leave(b, move.ticket, move.from) end
  -- After all that may find a key of another type: a record without a state would be a task that exists, for
  -- whoever enqueues it again, and never runs.
  for i = 1, n do
    if creates[i] and items[i] then
      local _, record = parts_of(items[i], flags[i])
      call('HSET', b .. 't', ids[i], sub(items[i], record))
    end
  end
  write_locks(b, plan, at)
  if ticks then strike(b, tick, ticks, first) end
  receive(b, hour, batches, seen, stamp)
  if limit_bytes then count_bytes(b, bytes) end
  drop_all(b, replaced[2])
  for _, id in ipairs(plan.remember) do call('ZADD', b .. 'd', at + DAY, id) end
  if is_ready then wake_ready(b) end
  if is_next then call('PUBLISH', b .. 'due', '') end
  if #plan.drops > 0 then call('PUBLISH', b .. 'settled', '') end
  local mark = closes_first and '!' or ''
  if created == n and #holders == 0 then return mark end
  return mark .. concat(answers) .. concat(holders)
end

register('enqueue', enqueue, {})
