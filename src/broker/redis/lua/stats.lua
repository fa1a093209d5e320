-- stats: the counts of one queue.
--
-- KEYS  1 t
-- Reply scheduled, pending, active, retry, completed, archived; runs completed, runs failed, ever; since when
--       the longest waiting pending task is pending, ms, or -1.
-- Cost  O(kinds pending + sessions). Reads only.

local function stats(keys)
  local b = base(keys)
  local pending, oldest = 0, -1
  local masks = call('HGETALL', b .. 'ln')
  for i = 1, #masks, 2 do
    for line = 0, 19 do
      if band(mask_of(masks[i + 1]), lshift(1, line)) ~= 0 then
        local key = b .. (line < 10 and 'p' or 'z') .. char(line % 10, 1, 0) .. masks[i]
        pending = pending + call('LLEN', key)
        for _, entry in ipairs(call('LRANGE', key, -LOOK, -1)) do
          local since = #entry == ENTRY and struct.unpack('>I6', entry, 17)
          if since and (oldest < 0 or since < oldest) then oldest = since end
        end
      end
    end
  end
  local active = 0
  local function count(set, sessions)
    for _, session in ipairs(sessions) do active = active + call('SCARD', b .. set .. session) end
  end
  count('a:', call('ZRANGE', b .. 'l', 0, -1))
  count('a:', call('ZRANGE', b .. 'q', 0, -1))
  count('dead:', call('LRANGE', b .. 'dd', 0, -1))
  local ended = call('HMGET', b .. 'st', 'completed', 'failed')
  return {
    call('ZCARD', b .. 's'), pending, active, call('ZCARD', b .. 'r'), call('ZCARD', b .. 'c'),
    call('ZCARD', b .. 'x'), tonumber(ended[1] or 0) or 0, tonumber(ended[2] or 0) or 0, oldest,
  }
end

register('stats', stats, { 'no-writes' })
