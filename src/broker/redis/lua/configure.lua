-- configure: changes a setting of a queue.
--
-- KEYS  1 t
-- ARGV  fields of `cfg` (pause, max, bytes, run, completed, archived, age), each with its value, '' takes it away;
--       or: kind, hash of a kind, most of its tasks that are active, '' takes it away, name of the kind, most kinds.
-- Reply 1; 0 if so many kinds have a limit already.
-- Cost  O(1); O(tasks) where records are to be counted. Allowed when Redis is out of memory.

-- The bytes of the records of all tasks, which are found where they are: nobody may ask which records there are, and those that
-- must not stay are of none.
local function all_bytes(b)
  local seen, ids = {}, {}
  local function add(found)
    for _, id in ipairs(found) do
      if not seen[id] then
        seen[id], ids[#ids + 1] = true, id
      end
    end
  end
  for _, key in ipairs({ 's', 'r', 'c', 'x', 'g' }) do add(ids_of(call('ZRANGE', b .. key, 0, -1))) end
  local held = all_held(b)
  for i = 2, #held, 2 do
    local some = {}
    cut(held[i], some)
    add(some)
  end
  for _, line in ipairs(lines_of(b)) do
    for from = 0, call('LLEN', b .. line) - 1, STEP do
      for _, entry in ipairs(call('LRANGE', b .. line, from, from + STEP - 1)) do
        local some = {}
        cut(ids_in(entry) or '', some)
        add(some)
      end
    end
  end
  return bytes_of(b, ids)
end

local function limit_kind(b, kind, limit, name, most)
  if limit == '' then
    call('HDEL', b .. 'kc', kind)
    if call('EXISTS', b .. 'kc') == 0 then call('HDEL', b .. 'cfg', 'kinds') end
    return 1
  end
  if call('HEXISTS', b .. 'kc', kind) == 0 and call('HLEN', b .. 'kc') >= tonumber(most) then return 0 end
  call('HSET', b .. 'kc', kind, limit .. ' ' .. name)
  call('HSET', b .. 'cfg', 'kinds', 1)
  return 1
end

local function configure(keys, args)
  local b, done = base(keys), 1
  local v = call('HGET', b .. 'cfg', 'v')
  if newer(v) then return newer(v) end
  if not v then call('HSET', b .. 'cfg', 'v', FORMAT) end
  if args[1] == 'kind' then
    done = limit_kind(b, args[2], args[3], args[4], args[5])
  else
    for i = 1, #args, 2 do
      local field, value = args[i], args[i + 1]
      if field == 'bytes' and value ~= '' then
        call('SET', b .. 'by', all_bytes(b))
      elseif field == 'bytes' then
        call('DEL', b .. 'by')
      end
      if value == '' then call('HDEL', b .. 'cfg', field) else call('HSET', b .. 'cfg', field, value) end
    end
  end
  wake_ready(b)
  -- There may be room for enqueues; something may be too much to be kept.
  call('PUBLISH', b .. 'settled', '')
  call('PUBLISH', b .. 'due', '')
  return done
end

register('configure', configure, { 'allow-oom' })
