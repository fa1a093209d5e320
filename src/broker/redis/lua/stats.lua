-- stats: the counts of one queue.
--
-- KEYS  1 t
-- Reply scheduled, pending, active, retry, completed, archived; runs completed, runs failed, ever; since when
--       the longest waiting pending task is pending, ms, or -1; 1 if it is paused; its limit, or -1; aggregating; gone
--       because too many were kept, ever; bytes of records, or ''; settings of `cfg`, '' where there is none: bytes, run,
--       completed, archived, age; limits of kinds, each `number, space, kind`.
-- Cost  O(kinds pending + active). Reads only.
--
-- A task has a record, and then is in one state: pending is what is in no other. Lines are not counted, for
-- their entries have as many tasks as they like.

-- These ids, if any of them has its place here.
local function standing(b, ids, turn)
  local list = {}
  cut(ids, list)
  local places = places_of(b, list, {})
  for i = 1, #list do
    local place = places[list[i]]
    if not place or turn >= place.turn then return ids end
  end
end

local function stats(keys)
  local b = base(keys)
  local oldest, any_void = -1, call('EXISTS', b .. 'vp') == 1
  for _, line in ipairs(lines_of(b)) do
    for _, entry in ipairs(call('LRANGE', b .. line, -LOOK, -1)) do
      local ids, turn = ids_in(entry)
      if ids and any_void then ids = standing(b, ids, turn) end
      local since = ids and struct.unpack('>I6', entry)
      if since and (oldest < 0 or since < oldest) then oldest = since end
    end
  end
  local active, all = 0, all_held(b)
  for i = 2, #all, 2 do active = active + #all[i] / 16 end
  local waiting = { s = 0, r = 0, c = 0, x = 0, g = 0 }
  local pending = call('HLEN', b .. 't') - active - call('SCARD', b .. 'or')
  for key in pairs(waiting) do
    waiting[key] = call('ZCARD', b .. key)
    pending = pending - waiting[key]
  end
  local cfg = call('HMGET', b .. 'cfg', 'pause', 'max', 'bytes', 'run', 'completed', 'archived', 'age')
  local ended = call('HMGET', b .. 'st', 'completed', 'failed', 'trimmed')
  local bytes, settings = '', {}
  if cfg[3] then bytes = call('GET', b .. 'by') or '0' end
  for i = 3, 7 do settings[i - 2] = cfg[i] or '' end
  return {
    waiting.s, math.max(pending, 0), active, waiting.r, waiting.c, waiting.x,
    tonumber(ended[1] or 0) or 0, tonumber(ended[2] or 0) or 0, oldest,
    cfg[1] and 1 or 0, tonumber(cfg[2] or -1) or -1,
    waiting.g, tonumber(ended[3] or 0) or 0, bytes, settings, call('HVALS', b .. 'kc'),
  }
end

register('stats', stats, { 'no-writes' })
