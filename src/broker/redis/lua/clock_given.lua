-- Time is given with every call, as its last argument: for tests that move a clock.

local given = 0

local function now()
  return given
end

-- How long Redis is to keep what is over in so many ms. Its own time goes on while the given one stands still, so an hour longer.
local function expiry(ms)
  return ms + 3600000
end

local function register(name, callback, flags)
  redis.register_function { function_name = PREFIX .. name, flags = flags, callback = function(keys, args)
    arm()
    if #args > 0 then given = tonumber(table.remove(args)) end
    return callback(keys, args)
  end }
end
