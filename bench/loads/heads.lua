-- 500 clients' heads, each request with an info_hash of its own: nothing repeats as a whole.
local agents = {"qBittorrent/4.6.%d", "Transmission/4.0.%d", "Deluge/2.1.%d", "uTorrent/355%d", "libtorrent/2.0.%d"}
local heads, bytes = {}, {}
for number = 1, 500 do
  local agent = string.format(agents[number % 5 + 1], number)
  heads[number] = "&peer_id=-qB4600-abcdefghijkl&port=" .. (6000 + number) ..
    "&left=0&compact=1 HTTP/1.1\r\nHost: localhost:" .. wrk.port .. "\r\nUser-Agent: " .. agent ..
    "\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-Client: " .. number .. "\r\n\r\n"
end
for value = 0, 255 do bytes[value] = string.format("%%%02X", value) end
local random, turn, concat, hash = math.random, 0, table.concat, {}

function request()
  for place = 1, 20 do hash[place] = bytes[random(0, 255)] end
  turn = turn % 500 + 1
  return "GET /announce?info_hash=" .. concat(hash) .. heads[turn]
end
