-- Each connection waits 1 to 5 ms between answer and next request; tells the 99th percentile.
function delay() return math.random(1, 5) end
function done(summary, latency, requests)
  io.write(string.format("p99 %d\n", latency:percentile(99.0)))
end
