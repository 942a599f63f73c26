-- The world of one script of a rule: what Lua 5.1 gives that touches nothing outside, and Suricata's functions, which
-- return what the engine sent along. Nothing here is a Python object, so no script can come by one.
--
-- Returns two functions: load(source, name, values, lookups, constants), which returns what `init` says it needs, and
-- match(args, facts), which returns whether the script says that the rule matches.

local loadstring, setfenv, pairs, ipairs, type, unpack, error, pcall = loadstring, setfenv, pairs, ipairs, type, unpack,
    error, pcall
local floor, tonumber, tostring, select, rawget = math.floor, tonumber, tostring, select, rawget
local lower, format = string.lower, string.format
local MOST_NEEDS, LONGEST_NAME = 64, 256

string.dump = nil

-- LuaJIT's `bit`, on numbers alone: Lua 5.1 has none. Each takes eight steps, one for each four bits.

local WORD, HALF = 2 ^ 32, 2 ^ 31
local AND = {}
for a = 0, 15 do
    for b = 0, 15 do
        local value, one = 0, 1
        for place = 0, 3 do
            if floor(a / one) % 2 == 1 and floor(b / one) % 2 == 1 then value = value + one end
            one = one * 2
        end
        AND[a * 16 + b] = value
    end
end

local function unsigned(x) return floor(x) % WORD end

local function signed(x)
    x = x % WORD
    return x >= HALF and x - WORD or x
end

local function both(a, b)
    local value, one = 0, 1
    for _ = 1, 8 do
        value = value + AND[a % 16 * 16 + b % 16] * one
        a, b, one = floor(a / 16), floor(b / 16), one * 16
    end
    return value
end

local function folded(step)
    return function(first, ...)
        local value = unsigned(first)
        for place = 1, select("#", ...) do
            value = step(value, unsigned((select(place, ...))))
        end
        return signed(value)
    end
end

local bit = {
    tobit = function(x) return signed(unsigned(x)) end,
    bnot = function(x) return signed(WORD - 1 - unsigned(x)) end,
    band = folded(both),
    bor = folded(function(a, b) return a + b - both(a, b) end),
    bxor = folded(function(a, b) return a + b - 2 * both(a, b) end),
    lshift = function(x, n) return signed(unsigned(x) * 2 ^ (n % 32)) end,
    rshift = function(x, n) return signed(floor(unsigned(x) / 2 ^ (n % 32))) end,
    arshift = function(x, n) return signed(floor(signed(unsigned(x)) / 2 ^ (n % 32))) end,
}

function bit.rol(x, n)
    x, n = unsigned(x), n % 32
    local high = floor(x / 2 ^ (32 - n))
    return signed(x * 2 ^ n % WORD + high)
end

function bit.ror(x, n) return bit.rol(x, 32 - n % 32) end

function bit.bswap(x)
    x = unsigned(x)
    local value = 0
    for _ = 1, 4 do
        value, x = value * 256 + x % 256, floor(x / 256)
    end
    return signed(value)
end

function bit.tohex(x, digits)
    digits = digits or 8
    local text = format(digits < 0 and "%08X" or "%08x", unsigned(x))
    return text:sub(-math.min(math.abs(digits), 8))
end

-- What scripts see as their globals.

local function nothing() end

local libraries = { string = string, table = table, math = math, coroutine = coroutine, bit = bit }

local world = {
    _VERSION = _VERSION, assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next,
    pairs = pairs, pcall = pcall, rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
    setmetatable = setmetatable, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    xpcall = xpcall,
    print = nothing, SCLogDebug = nothing, SCLogInfo = nothing, SCLogNotice = nothing, SCLogWarning = nothing,
    SCLogError = nothing,
}
world._G = world
for name, library in pairs(libraries) do world[name] = library end

function world.require(name)
    return libraries[name] or error("require: there is no module " .. tostring(name) .. " here", 2)
end

-- What the engine sent along, by the name of the function that returns it.
local facts = {}

local function value_of(name)
    return function()
        local values = facts[name]
        if values == nil then return nil, "not known here" end
        return unpack(values, 1, values.n)
    end
end

local function lookup_of(name)
    return function(key)
        local values = facts[name]
        if type(key) == "string" then key = lower(key) end
        local value = values and key ~= nil and rawget(values, key)
        if value == nil or value == false then return nil, "not known here" end
        return value
    end
end

-- Calls a function of a script. An error is a text, whatever the script throws.
local function called(action, argument)
    local done, answer = pcall(action, argument)
    if done then return answer end
    error(type(answer) == "string" and answer or "it throws an error that is no text", 0)
end

local function needs_of(answer)
    if type(answer) ~= "table" then error("init returns no table of what the script needs", 0) end
    local found, left = {}, MOST_NEEDS
    local function named(one)
        left = left - 1
        if type(one) ~= "string" or #one > LONGEST_NAME or left < 0 then
            error("init needs what has no name, or a long one, or too much", 0)
        end
        return one
    end
    for name, value in pairs(answer) do
        named(name)
        local said = type(value) == "boolean" and tostring(value) or value
        if type(value) == "table" then
            said = {}
            for _, one in pairs(value) do said[#said + 1] = named(one) end
        else
            named(said)
        end
        found[#found + 1] = { name, said }
    end
    return found
end

local function load(source, name, values, lookups, constants)
    local chunk, wrong = loadstring(source, "@" .. name)
    if chunk == nil then error(wrong, 0) end
    for _, one in ipairs(values) do world[one] = value_of(one) end
    for _, one in ipairs(lookups) do world[one] = lookup_of(one) end
    for key, value in pairs(constants) do world[key] = value end
    called(setfenv(chunk, world))
    for _, one in ipairs({ "init", "match" }) do
        if type(world[one]) ~= "function" then error("it has no function " .. one, 0) end
    end
    return needs_of(called(world.init, { script_api_ver = 1 }))
end

local function match(args, sent)
    facts = sent
    local answer = called(world.match, args)
    facts = {}
    if type(answer) == "table" then answer = tonumber(rawget(answer, "retval")) end
    return answer == 1
end

return load, match
