-- workers: who is there.
--
-- KEYS  1 workers, of the namespace
-- ARGV  most workers.
-- Reply per worker: id, until when, what it says of itself, what it was told (names and how often, in pairs).
-- Cost  O(workers). Reads only.

local function workers(keys, args)
  local b, all = sub(keys[1], 1, -8), {}
  local there = call('ZRANGE', keys[1], '(' .. now(), '+inf', 'BYSCORE', 'LIMIT', 0, args[1], 'WITHSCORES')
  for i = 1, #there, 2 do
    local about = call('GET', b .. 'w:' .. there[i]) or ''
    all[#all + 1] = { there[i], tonumber(there[i + 1]), about, call('HGETALL', b .. 'wo:' .. there[i]) }
  end
  return all
end

register('workers', workers, { 'no-writes' })
