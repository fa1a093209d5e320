-- Entries of the timetable and their ticks. Not a function of its own.
--
-- An entry is two fields under its name, so that whoever enqueues its ticks need not be able to change it: in `cr`
-- `version 8 | what it says`; in `ct` `last tick 8 | latest ticks for which something was enqueued: tick 8, id 16`.

-- How many ticks are remembered of an entry.
local TICKS_KEPT = 100
local NO_TICK = '\0\0\0\0\0\0\0\0'

-- The fields of an entry; nothing if there is none.
local function entry_at(b, name)
  local entry, ticks = call('HGET', b .. 'cr', name), call('HGET', b .. 'ct', name)
  if not entry or #entry < 8 then return end
  return entry, (ticks and #ticks >= 8) and ticks or NO_TICK
end

-- The ticks of an entry if it is as the tick has seen it: `version 8 | last 8 | at 8 | name`.
local function ticks_seen(b, tick)
  local entry, ticks = entry_at(b, sub(tick, 25))
  if entry and sub(entry, 1, 8) == sub(tick, 1, 8) and sub(ticks, 1, 8) == sub(tick, 9, 16) then return ticks end
end

-- A tick is the last one of its entry; with the task that was stored first for it, if any was.
local function strike(b, tick, ticks, id)
  local latest = sub(ticks, 9)
  if id then latest = sub(latest .. sub(tick, 17, 24) .. id, -24 * TICKS_KEPT) end
  call('HSET', b .. 'ct', sub(tick, 25), sub(tick, 17, 24) .. latest)
end
