-- Time is the server's.

local function now()
  local time = call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

-- How long Redis is to keep what is over in so many ms.
local function expiry(ms)
  return ms
end

local function register(name, callback, flags)
  redis.register_function { function_name = PREFIX .. name, flags = flags, callback = function(keys, args)
    arm()
    return callback(keys, args)
  end }
end
