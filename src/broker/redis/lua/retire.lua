-- retire: closes a session to claims and hands back what its worker does not know of, at no cost.
--
-- KEYS  1 t
-- ARGV  session, then the ids of the tasks the worker knows of.
-- Reply how many were handed back; those that are cancelled are archived instead. Of a session nobody knows a
--       tombstone is left: its claim may be on its way.
-- Cost  O(claims of the session). Allowed when Redis is out of memory.

-- Fields and values as pairs, claims in the order in which they were made; a hash has none.
local function in_order(found)
  local claims = {}
  for i = 1, #found, 2 do
    local number = #found[i] == 16 and struct.unpack('>I8', found[i]) or 0
    claims[#claims + 1] = { found[i], found[i + 1], number = number }
  end
  table.sort(claims, function(x, y) return x.number < y.number end)
  return claims
end

local function retire(keys, args)
  local b, session, at = base(keys), args[1], now()
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  local wrong = groups_wrong(b)
  if wrong then return wrong end
  local lease = call('ZSCORE', b .. 'l', session)
  if lease then
    call('ZREM', b .. 'l', session)
    call('ZADD', b .. 'q', lease, session)
  elseif not call('ZSCORE', b .. 'q', session) then
    bury_lost(b, session, at)
    if not call('ZSCORE', b .. 'e', session) then call('ZADD', b .. 'e', at + HOUR, session) end
    return 0
  end
  local known = {}
  for i = 2, #args do known[args[i]] = true end
  local held_key = b .. 'a:' .. session
  local claims, back, rest, over = in_order(call('HGETALL', held_key)), {}, {}, {}
  for _, claim in ipairs(claims) do
    local field, ids = claim[1], claim[2]
    if is_claim(field, ids) then
      local kept = {}
      for from = 1, #ids, 16 do
        local id = sub(ids, from, from + 15)
        if known[id] then
          kept[#kept + 1] = id
        else
          back[#back + 1] = id .. sub(field, 9)
        end
      end
      if #kept == 0 then
        over[#over + 1] = field
      elseif 16 * #kept < #ids then
        rest[#rest + 1] = field
        rest[#rest + 1] = concat(kept)
      end
    else
      over[#over + 1] = field
      junk(b)
    end
  end
  local ids = ids_of(back)
  local marks = cancelled_of(b, ids)
  if call('EXISTS', b .. 'lr') == 1 then each('SREM', b .. 'lr', ids) end
  -- From the end: what is put back last is served first.
  for from = floor((#back - 1) / STEP) * STEP + 1, 1, -STEP do
    local step = {}
    for i = from, min(from + STEP - 1, #back) do
      if marks and marks[i] == 1 then
        archive(b, back[i], at, CANCELLED)
      else
        step[#step + 1] = back[i]
      end
    end
    line_up(b, 'RPUSH', step, at)
  end
  if marks then
    each('SREM', b .. 'cn', ids)
    call('PUBLISH', b .. 'settled', '')
  end
  each('HSET', held_key, rest)
  each('HDEL', held_key, over)
  if #back > 0 then wake_ready(b) end
  return #back
end

register('retire', retire, { 'allow-oom' })
