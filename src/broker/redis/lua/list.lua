-- list: one page of tickets in a state, oldest first.
--
-- KEYS  1 t
-- ARGV  state (s r c x: by time; p: by line; a: by ticket), rows, then where the page before ended, if it did:
--         s r c x: time, ticket | p: line (lane and suffix), entry | a: ticket
-- Reply the rows: s r c x: ticket, time ... | p: line, entry ... | a: ticket ...; one row more than asked for
--       tells that there is another page.
-- Cost  O(rows + log n) by time; p: O(rows + offset in the line + kinds); a: O(active). Reads only.

-- Where in a set the first member after (time, ticket) stands.
local function rank_after(key, time, ticket)
  local low, high = call('ZCOUNT', key, '-inf', '(' .. time), call('ZCOUNT', key, '-inf', time)
  while low < high do
    local middle = floor((low + high) / 2)
    if call('ZRANGE', key, middle, middle)[1] <= ticket then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function pending(b, rows, line_after, entry_after)
  local lines = {}
  local masks = call('HGETALL', b .. 'ln')
  for i = 1, #masks, 2 do
    for line = 0, 19 do
      if band(mask_of(masks[i + 1]), lshift(1, line)) ~= 0 then
        lines[#lines + 1] = (line < 10 and 'p' or 'z') .. char(line % 10, 1, 0) .. masks[i]
      end
    end
  end
  table.sort(lines)
  local page = {}
  for _, line in ipairs(lines) do
    if not line_after or line >= line_after then
      local last = call('LLEN', b .. line) - 1
      if line == line_after then
        -- What stood before it in the line has gone before it: if it is gone itself, the line starts anew.
        last = (call('LPOS', b .. line, entry_after, 'RANK', -1) or last + 1) - 1
      end
      local want = rows + 1 - #page / 2
      if last >= 0 and want > 0 then
        local entries = call('LRANGE', b .. line, math.max(last - want + 1, 0), last)
        for i = #entries, 1, -1 do
          page[#page + 1] = line
          page[#page + 1] = entries[i]
        end
      end
    end
  end
  return page
end

local function active(b, rows, after)
  local all = {}
  local function gather(set, sessions)
    for _, session in ipairs(sessions) do
      for _, ticket in ipairs(call('SMEMBERS', b .. set .. session)) do
        if not after or ticket > after then all[#all + 1] = ticket end
      end
    end
  end
  gather('a:', call('ZRANGE', b .. 'l', 0, -1))
  gather('a:', call('ZRANGE', b .. 'q', 0, -1))
  gather('dead:', call('LRANGE', b .. 'dd', 0, -1))
  table.sort(all)
  local page = {}
  for i = 1, min(rows + 1, #all) do page[i] = all[i] end
  return page
end

local function list(keys, args)
  local b, state, rows = base(keys), args[1], tonumber(args[2])
  if state == 'p' then return pending(b, rows, args[3], args[4]) end
  if state == 'a' then return active(b, rows, args[3]) end
  local from = args[3] and rank_after(b .. state, args[3], args[4]) or 0
  return call('ZRANGE', b .. state, from, from + rows, 'WITHSCORES')
end

register('list', list, { 'no-writes' })
