-- dequeue: claims pending tasks for a session, and opens the session if it is new.
--
-- KEYS  1 t
-- ARGV  session, lease ms, most claims, lane (p or z), most records to be answered along, then per accepted
--       kind: its hash, most claims of it.
-- Reply tickets in one string; trails as pairs of position and bytes; the records, if they are few enough.
--       FENCED: the session is retired, dead, or its lease ran out.
-- Cost  O(claims + accepted kinds). Allowed when Redis is out of memory, or it could not be drained.
--
-- Every kind first gets its share, so that none waits behind the backlog of another; then what is left.

local function dequeue(keys, args)
  local b, session, most = base(keys), args[1], tonumber(args[3])
  local cfg = call('HMGET', b .. 'cfg', 'v', 'pause')
  if newer(cfg[1]) then return newer(cfg[1]) end
  local at = now()
  local lease = call('ZSCORE', b .. 'l', session)
  if lease then
    if tonumber(lease) <= at then return fenced('let its lease run out; claim under a new one') end
  else
    if call('ZSCORE', b .. 'e', session) or call('ZSCORE', b .. 'q', session) then
      return fenced('is closed; claim under a new one')
    end
    call('ZADD', b .. 'l', at + args[2], session)
  end

  local lane, tickets = args[4], {}
  local hashes = {}
  for i = 6, #args, 2 do hashes[#hashes + 1] = args[i] end
  local kinds = {}
  if #hashes > 0 and not cfg[2] then
    local masks = call('HMGET', b .. 'ln', unpack(hashes))
    for i = 1, #hashes do
      local mask, limit = mask_of(masks[i]), tonumber(args[5 + 2 * i])
      local mine = lane == 'z' and floor(mask / 1024) or band(mask, 1023)
      if mine > 0 and limit > 0 then
        kinds[#kinds + 1] = { hash = hashes[i], mask = mask, mine = mine, limit = limit }
      end
    end
  end
  local function take(kind, want)
    local got = 0
    for priority = 9, 0, -1 do
      if want == 0 then break end
      local line_mask = lshift(1, priority)
      if band(kind.mine, line_mask) ~= 0 then
        local suffix = char(priority, 1, 0) .. kind.hash
        local key, before, popped = b .. lane .. suffix, got, 0
        repeat
          local asked = want
          local entries = try('RPOP', key, asked) or {}
          if is_foreign(entries) then
            clear_line(b, key)
            entries = {}
          end
          local n = #tickets
          for i = 1, #entries do
            local entry = entries[i]
            if #entry == ENTRY then
              n = n + 1
              tickets[n] = sub(entry, 1, 16) .. suffix
              got = got + 1
            else
              junk(b)
            end
          end
          popped, want = popped + #entries, want - (got - before)
          before = got
          local drained = #entries < asked
          if drained then
            kind.mine, kind.mask = kind.mine - line_mask, kind.mask - line_bit(lane, priority)
            kind.drained = true
          end
          -- Tasks behind junk are reached, but not at any price.
        until want == 0 or drained or popped >= STEP
      end
    end
    kind.limit = kind.limit - got
  end
  local share = #kinds > 0 and math.ceil(most / #kinds) or 0
  for _, kind in ipairs(kinds) do take(kind, min(share, kind.limit, most - #tickets)) end
  for _, kind in ipairs(kinds) do take(kind, min(kind.limit, most - #tickets)) end
  for _, kind in ipairs(kinds) do
    if kind.drained and kind.mask == 0 then
      call('HDEL', b .. 'ln', kind.hash)
    elseif kind.drained then
      call('HSET', b .. 'ln', kind.hash, kind.mask)
    end
  end

  each('SADD', b .. 'a:' .. session, tickets)
  if #tickets < most then call('SET', b .. 'i', 1) end
  local all, trails = claims(b, tickets)
  local records = {}
  if #tickets > 0 and #tickets <= tonumber(args[5]) then
    records = call('HMGET', b .. 't', unpack(ids_of(tickets)))
  end
  return { all, trails, records }
end

register('dequeue', dequeue, { 'allow-oom' })
