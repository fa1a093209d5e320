-- While a library is loaded there are no globals but `redis`, and no `redis.call`: the first call of a
-- function gives these names their values.
local call, try, sub, find, byte, char, concat, floor, ceil, min, band, bor, lshift

local function arm()
  if call then return end
  call, try = redis.call, redis.pcall
  sub, find, byte, char = string.sub, string.find, string.byte, string.char
  concat, floor, ceil, min = table.concat, math.floor, math.ceil, math.min
  band, bor, lshift = bit.band, bit.bor, bit.lshift
end

