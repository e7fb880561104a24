-- Sixteen requests at once, of several kinds.
init = function()
  local targets = {"/plaintext", "/json", "/bytes/2000", "/stream/3"}
  local all = {}
  for i = 1, 16 do all[i] = wrk.format("GET", targets[i % 4 + 1]) end
  pipeline = table.concat(all)
end
request = function() return pipeline end
