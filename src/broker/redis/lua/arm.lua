-- While a library is loaded there are no globals but `redis`, and no `redis.call`: the first call of a
-- function gives these names their values.
local call, try, sub, byte, char, concat, floor, min, band, bor, lshift

local function arm()
  if call then return end
  call, try = redis.call, redis.pcall
  sub, byte, char = string.sub, string.byte, string.char
  concat, floor, min = table.concat, math.floor, math.min
  band, bor, lshift = bit.band, bit.bor, bit.lshift
end

