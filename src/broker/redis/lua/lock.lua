-- Locks, which make a task the only one of its sort; and what is to be changed about those that hold them. Not a
-- function of its own.
--
-- A lock is under each of its names in `u:*`: `ticket of its owner 24 | since 6 | until 6`, ms; until 0: without end.
-- Under the id of its owner `lk` has `hold 1 | names of 16`, until it is released or its owner gone. Those owners that
-- are active are in `lr`, for whoever may not see what is held.

local UNTIL_START, UNTIL_END, ALWAYS = 1, 2, 3
local KEEP, REPLACE = 0, 1
-- Most names of one lock.
local LOCK_NAMES_MAX = 4

-- Who holds a lock of this name, since when and until when. What is no lock of ours holds nothing.
local function lock_at(b, name, at)
  local stored = try('GET', b .. 'u:' .. name)
  if is_foreign(stored) or not stored or #stored ~= 36 or not is_ticket(sub(stored, 1, 24)) then return end
  local since, till = struct.unpack('>I6I6', stored, 25)
  if till == 0 or till > at then return { owner = sub(stored, 1, 24), since = since, till = till } end
end

-- The names of a lock as it is stored under its owner.
local function names_of(lock)
  local names = {}
  cut(sub(lock, 2, 16 * min(floor((#lock - 1) / 16), LOCK_NAMES_MAX) + 1), names)
  return names
end

-- Releases those locks of these tasks that are held no longer than `upto`. One that another task took meanwhile stays.
local function unlock(b, ids, upto)
  for from = 1, #ids, STEP do
    local to = min(from + STEP - 1, #ids)
    local locks = call('HMGET', b .. 'lk', unpack(ids, from, to))
    for i = from, to do
      local lock = locks[i - from + 1]
      if lock and #lock > 0 and byte(lock) <= upto then
        for _, name in ipairs(names_of(lock)) do
          local row = lock_at(b, name, 0)
          if row and id_of(row.owner) == ids[i] then call('DEL', b .. 'u:' .. name) end
        end
        call('HDEL', b .. 'lk', ids[i])
      end
    end
  end
end

-- A task has ended, and stays.
local function end_lock(b, id)
  unlock(b, { id }, UNTIL_END)
  call('SREM', b .. 'lr', id)
end

-- Tasks are claimed, in lists of ids as they are answered; by whoever runs them, or not.
local function start_locks(b, told, are_run)
  local ids, running, over = {}, {}, {}
  for i = 2, #told, 2 do cut(told[i], ids) end
  for from = 1, #ids, STEP do
    local locks = call('HMGET', b .. 'lk', unpack(ids, from, min(from + STEP - 1, #ids)))
    for i = 1, #locks do
      local is_over = are_run and locks[i] and byte(locks[i]) == UNTIL_START
      if locks[i] then running[#running + 1] = ids[from + i - 1] end
      if is_over then over[#over + 1] = ids[from + i - 1] end
    end
  end
  each('SADD', b .. 'lr', running)
  unlock(b, over, UNTIL_START)
end

-- What an enqueue is about to do, gathered before anything is written. By position: when tasks are due, in which order they
-- joined (`turns`), those no longer at the front (`behind`). By id: where new ones are (`new`), their locks (`held`),
-- holders that are due at another time (`moves`), those that are gone and forgotten (`gone`). By name: locks, false
-- where there is none. Lists: names that are free (`freed`), holders to be dropped (`drops`), ids to be remembered,
-- positions of new ones dropped for the last lock, and what tasks of groups do in turn (`events`).
local function new_plan()
  return {
    dues = {}, turns = {}, turn = 0, behind = {}, new = {}, held = {}, moves = {}, gone = {}, locks = {}, freed = {},
    drops = {}, remember = {}, dropped = {}, events = {},
  }
end

local function lock_in(b, plan, name, at)
  if plan.locks[name] == nil then plan.locks[name] = lock_at(b, name, at) or false end
  return plan.locks[name]
end

-- The lock another task holds under the first of these names that is held, and whether several tasks hold them.
local function other_of(b, plan, id, names, at)
  local first, are_several
  for _, name in ipairs(names) do
    local row = lock_in(b, plan, name, at)
    if row and id_of(row.owner) ~= id then
      first = first or row
      are_several = are_several or row.owner ~= first.owner
    end
  end
  return first, are_several
end

-- Where a holder waits: n, it is new in this call; s, r, g, p. Nothing if it does not wait.
local function waits(b, plan, owner)
  local id = id_of(owner)
  if plan.new[id] then return 'n' end
  if plan.moves[id] then return plan.moves[id].from end
  if call('HEXISTS', b .. 't', id) == 0 or call('SISMEMBER', b .. 'lr', id) == 1 then return end
  for _, key in ipairs({ 's', 'r', 'c', 'x', 'g' }) do
    if call('ZSCORE', b .. key, owner) then return find('srg', key, 1, true) and key or nil end
  end
  return 'p'
end

-- A lock of this holder shall last until then; 0: without end.
local function set_until(b, plan, owner, till, at)
  local id = id_of(owner)
  for _, name in ipairs(names_of(plan.held[id] or call('HGET', b .. 'lk', id) or '')) do
    local row = lock_in(b, plan, name, at)
    if row and row.owner == owner then
      if till == 0 or till > at then
        row.till, row.is_new = till, true
      else
        plan.locks[name] = false
        plan.freed[#plan.freed + 1] = name
      end
    end
  end
end

-- A holder that waits shall be due then.
local function plan_move(plan, owner, from, due, at)
  local id = id_of(owner)
  local i, move = plan.new[id], plan.moves[id]
  local stays = due <= at
  if i then
    stays = stays and plan.dues[i] <= at
    plan.dues[i] = due
  else
    -- One that was moved and is due again has its new place, and keeps that.
    if move then stays = stays and move.due <= at else stays = stays and (from == 'p' or from == 'g') end
    local left = not stays or (move and move.left) or false
    plan.moves[id] = { ticket = owner, from = from, due = due, left = left, turn = move and move.turn }
    move = plan.moves[id]
  end
  if stays then return end
  plan.turn = plan.turn + 1
  plan.events[#plan.events + 1] = { op = due > at and 'leave' or 'join', ticket = owner }
  if i then
    plan.turns[i], plan.behind[i] = plan.turn, true
  else
    move.turn = plan.turn
  end
end

-- A holder that waits shall be gone.
local function plan_drop(b, plan, owner, from, at)
  local id = id_of(owner)
  set_until(b, plan, owner, at, at)
  plan.events[#plan.events + 1] = { op = from == 'n' and 'ghost' or 'drop', ticket = owner, from = from }
  if from == 'n' then
    plan.dropped[#plan.dropped + 1] = plan.new[id]
    plan.new[id], plan.held[id] = nil, nil
  else
    plan.drops[#plan.drops + 1] = { ticket = owner, from = from }
    plan.moves[id] = nil
    if call('HEXISTS', b .. 'ref', id) == 0 then plan.gone[id] = true end
  end
end

-- A new task wants a lock: `names 1 | hold 1 | conflict 1 | 1: it lasts, 2: within 1 | lasts ms 8 | within ms 8 | names`,
-- at the 26th byte of its item. Answers what becomes of it (1 created, h held, r replaced, m moved), who held the lock, when it is
-- due, and the holder that is new and dropped for it.
local function plan_lock(b, plan, ticket, item, due, at)
  local count, hold, conflict, bits, lasts, within = struct.unpack('>BBBBI8I8', item, 26)
  local id, names = id_of(ticket), {}
  cut(sub(item, 46, 45 + 16 * count), names)
  local row, are_several = other_of(b, plan, id, names, at)
  local since, code, holder = at, '1', row and id_of(row.owner)
  local function till()
    return band(bits, 1) == 1 and min(math.max(at, due) + lasts, TIME_MAX) or 0
  end
  if row then
    -- Several hold it, each under another name, only while index keys change.
    local from = conflict ~= KEEP and not are_several and waits(b, plan, row.owner)
    if not from then return 'h', holder end
    if band(bits, 2) == 2 then due = min(due, row.since + within) end
    if conflict ~= REPLACE then
      plan_move(plan, row.owner, from, due, at)
      set_until(b, plan, row.owner, till(), at)
      return 'm', holder
    end
    plan_drop(b, plan, row.owner, from, at)
    since, code = row.since, 'r'
  end
  local ends = till()
  if ends == 0 or ends > at then
    for _, name in ipairs(names) do
      plan.locks[name] = { owner = ticket, since = since, till = ends, is_new = true }
    end
    plan.held[id] = char(hold) .. concat(names)
  end
  return code, holder, due
end

-- Writes the locks of a plan.
local function write_locks(b, plan, at)
  for _, name in ipairs(plan.freed) do
    if not plan.locks[name] then call('DEL', b .. 'u:' .. name) end
  end
  for name, row in pairs(plan.locks) do
    if row and row.is_new then
      local stored = row.owner .. struct.pack('>I6I6', row.since, row.till)
      if row.till == 0 then
        call('SET', b .. 'u:' .. name, stored)
      else
        call('SET', b .. 'u:' .. name, stored, 'PX', expiry(row.till - at))
      end
    end
  end
  for id, lock in pairs(plan.held) do call('HSET', b .. 'lk', id, lock) end
end
