-- settle: writes how claims ended, each on its own.
--
-- KEYS  1 t
-- ARGV  session, number of groups, then those, two arguments each: of tasks that completed and are gone, the
--       field of their claim, their ids; then the others, five arguments each: order, field of its claim and id,
--       a, c, trail ('' as it is, '-' none, '+' and its bytes).
--         g gone, completed | v gone, not counted | k kept: a ms, c result
--         r retry: after a ms, c 'f' if it then goes before what waits
--         s snooze: after a ms | l release: into lane a | x archive: a reason, c '1' if it counts as failed
-- Reply '' if all were held and written, else a '1' (written) or '0' (not held) per task.
--       FENCED: the session is dead or was never there.
-- Cost  O(tasks), O(log n) for those that wait or are kept; O(ENTRY_IDS) per claim that is settled in part. Allowed
--       when Redis is out of memory.

-- What the orders write to, and as what, and what more if any of that is there.
local SETTLE_TYPES = {
  tr = 'hash', k = 'hash', ln = 'hash', z = 'set', cn = 'set', r = 'zset', s = 'zset', c = 'zset', x = 'zset',
}
local RARE_TYPES = { lk = 'hash', lr = 'set', vp = 'hash', rf = 'set', gt = 'hash' }

-- The claims of these fields as they are held, by field. Nothing is held by what is no claim of ours.
--
-- Of a claim that is being looked through `before` has what is left before `from`; behind that nothing was taken yet.
local function claims_of(held_key, fields)
  local claims = {}
  for start = 1, #fields, STEP do
    local stop = min(start + STEP - 1, #fields)
    local found = call('HMGET', held_key, unpack(fields, start, stop))
    for i = start, stop do
      local ids = found[i - start + 1]
      ids = ids and is_claim(fields[i], ids) and ids or ''
      claims[fields[i]] = { size = #ids, ids = ids, from = 1, before = {} }
    end
  end
  return claims
end

-- What a claim still holds. It is looked through from its beginning again.
local function left_in(claim)
  if claim.from > 1 then
    claim.before[#claim.before + 1] = sub(claim.ids, claim.from)
    claim.ids, claim.from, claim.before = concat(claim.before), 1, {}
  end
  return claim.ids
end

-- Takes an id out of a claim; false if it does not hold it. Ids that come in the order of the claim are found at
-- once.
local function take_out(claim, id)
  if #id ~= 16 then return false end
  local at = find_id(claim.ids, id, claim.from)
  if not at and claim.from > 1 then at = find_id(left_in(claim), id, 1) end
  if not at then return false end
  if at > claim.from then claim.before[#claim.before + 1] = sub(claim.ids, claim.from, at - 1) end
  claim.from = at + 16
  return true
end

-- Writes what is left of claims.
local function let_go(held_key, claims)
  local over, rest = {}, {}
  for field, claim in pairs(claims) do
    local left = left_in(claim)
    if left == '' and claim.size > 0 then
      over[#over + 1] = field
    elseif #left < claim.size then
      rest[#rest + 1] = field
      rest[#rest + 1] = left
    end
  end
  each('HSET', held_key, rest)
  each('HDEL', held_key, over)
end

local function settle(keys, args)
  local b, session, groups = base(keys), args[1], tonumber(args[2])
  local cfg = call('HMGET', b .. 'cfg', 'v', 'run', 'kinds')
  if newer(cfg[1]) then return newer(cfg[1]) end
  if not may_settle(b, session) then
    return fenced('is dead or unknown; its claims belong to others')
  end
  local held_key, others = b .. 'a:' .. session, 3 + 2 * groups
  local rare = others < #args and call('EXISTS', b .. 'lk', b .. 'lr', b .. 'vp', b .. 'rf', b .. 'gt') > 0
  local wrong = others < #args and of_other_type(b, SETTLE_TYPES) or rare and (of_other_type(b, RARE_TYPES) or groups_wrong(b))
  if wrong then return wrong end
  local fields = {}
  for i = 3, others - 1, 2 do fields[#fields + 1] = args[i] end
  for i = others, #args, 5 do fields[#fields + 1] = sub(args[i + 1], 1, 16) end
  local claims = claims_of(held_key, fields)

  -- Nothing is written before it is known what is held.
  local answers, gone, missing = {}, {}, false
  local function answer(is_held)
    answers[#answers + 1] = is_held and '1' or '0'
    missing = missing or not is_held
  end
  for i = 3, others - 1, 2 do
    local claim, ids = claims[args[i]], args[i + 1]
    if claim.ids == ids and claim.from == 1 and ids ~= '' then
      claim.ids = ''
      cut(ids, gone)
      answers[#answers + 1] = string.rep('1', #ids / 16)
    else
      for from = 1, #ids, 16 do
        local id = sub(ids, from, from + 15)
        local is_held = take_out(claim, id)
        answer(is_held)
        if is_held then gone[#gone + 1] = id end
      end
    end
  end
  local held = {}
  for i = others, #args, 5 do
    local claim = claims[sub(args[i + 1], 1, 16)]
    held[i] = take_out(claim, sub(args[i + 1], 17))
    answer(held[i])
  end

  -- A cancelled task is not to run again, whatever was ordered.
  local doomed, stay = {}, {}
  for i = others, #args, 5 do
    if held[i] then stay[#stay + 1] = sub(args[i + 1], 17) end
  end
  local marks = cancelled_of(b, stay)
  for i = 1, marks and #stay or 0 do doomed[stay[i]] = marks[i] == 1 end

  -- Who holds a lock is active no more, and has it no more if it ends here.
  if rare then each('SREM', b .. 'lr', stay) end
  local completed, failed, released = #gone, 0, {}
  local at = others < #args and now()
  local ended, first_due = false, false
  local function wait_until(key, ticket, delay)
    call('ZADD', b .. key, min(at + delay, TIME_MAX), ticket)
    first_due = first_due or call('ZRANGE', b .. key, 0, 0)[1] == ticket
  end
  for i = others, #args, 5 do
    if held[i] then
      local order, a, c, trail = args[i], args[i + 2], args[i + 3], args[i + 4]
      local id = sub(args[i + 1], 17)
      local ticket = id .. sub(args[i + 1], 9, 16)
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
          if rare then end_lock(b, id) end
          completed, ended = completed + 1, true
        elseif doomed[id] and (order == 'r' or order == 's' or order == 'l') then
          archive(b, ticket, at, CANCELLED)
          if order == 'r' then failed = failed + 1 end
          ended = true
        elseif order == 'r' then
          wait_until('r', ticket, a)
          if c == 'f' then call('SADD', b .. 'rf', id) end
          failed = failed + 1
        elseif order == 's' then
          wait_until('s', ticket, a)
        elseif order == 'l' then
          call(a == 'z' and 'SADD' or 'SREM', b .. 'z', id)
          released[#released + 1] = ticket
        elseif order == 'x' then
          archive(b, ticket, at, a)
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
  if marks then each('SREM', b .. 'cn', stay) end
  local is_ready = line_up(b, 'RPUSH', released, at)
  -- Last: if a key of another type stopped this half way, the claims are still held, and found.
  let_go(held_key, claims)
  if completed > 0 then tally(b, 'completed', completed) end
  if failed > 0 then tally(b, 'failed', failed) end
  -- Whoever found too little because so many were active finds more.
  if is_ready or (cfg[2] or cfg[3]) and #gone + #stay > 0 then wake_ready(b) end
  if first_due then call('PUBLISH', b .. 'due', '') end
  if ended then call('PUBLISH', b .. 'settled', '') end
  return missing and concat(answers) or ''
end

register('settle', settle, { 'allow-oom' })
