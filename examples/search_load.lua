-- Searches by words that differ, for `wrk -s`: see docs/guide/serve.md.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local words = { "fox", "a red car", "pizza", "a happy face", "snow", "dog", "tree", "house", "ship", "moon" }
local number = 0
request = function()
  number = number + 1
  local text = words[number % #words + 1] .. " " .. number % 1000
  return wrk.format(nil, "/v1/search", nil, '{"text": "' .. text .. '", "k": 20}')
end
