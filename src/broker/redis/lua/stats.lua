-- stats: the counts of one queue.
--
-- KEYS  1 t
-- Reply scheduled, pending, active, retry, completed, archived; runs completed, runs failed, ever; since when
--       the longest waiting pending task is pending, ms, or -1; 1 if it is paused; its limit, or -1.
-- Cost  O(kinds pending + active). Reads only.
--
-- A task has a record, and then is in one state: pending is what is in no other. Lines are not counted, for
-- their entries have as many tasks as they like.

-- These ids, if not all of them are cancelled.
local function not_cancelled(b, ids)
  local list = {}
  cut(ids, list)
  local marks = cancelled_of(b, list) or {}
  for i = 1, #list do
    if marks[i] ~= 1 then return ids end
  end
end

local function stats(keys)
  local b = base(keys)
  local oldest, cancelled = -1, any_cancelled(b)
  for _, line in ipairs(lines_of(b)) do
    for _, entry in ipairs(call('LRANGE', b .. line, -LOOK, -1)) do
      local ids = ids_in(entry)
      if ids and cancelled then ids = not_cancelled(b, ids) end
      local since = ids and struct.unpack('>I6', entry)
      if since and (oldest < 0 or since < oldest) then oldest = since end
    end
  end
  local active, all = 0, all_held(b)
  for i = 2, #all, 2 do active = active + #all[i] / 16 end
  local waiting = { s = 0, r = 0, c = 0, x = 0 }
  local pending = call('HLEN', b .. 't') - active - call('SCARD', b .. 'or')
  for key in pairs(waiting) do
    waiting[key] = call('ZCARD', b .. key)
    pending = pending - waiting[key]
  end
  local cfg = call('HMGET', b .. 'cfg', 'pause', 'max')
  local ended = call('HMGET', b .. 'st', 'completed', 'failed')
  return {
    waiting.s, math.max(pending, 0), active, waiting.r, waiting.c, waiting.x,
    tonumber(ended[1] or 0) or 0, tonumber(ended[2] or 0) or 0, oldest,
    cfg[1] and 1 or 0, tonumber(cfg[2] or -1) or -1,
  }
end

register('stats', stats, { 'no-writes' })
