-- Loaded into wrk. Prints the result as one line of JSON, and shapes the request by the environment:
-- BENCH_BODY_BYTES makes it a POST of that size, BENCH_PAUSE_MS lets each connection rest between requests.
-- No response(): with one, wrk collects every body, and becomes what is measured.

local body_bytes = tonumber(os.getenv("BENCH_BODY_BYTES") or "0")
if body_bytes > 0 then
   wrk.method = "POST"
   wrk.body = string.rep("x", body_bytes)
   wrk.headers["Content-Type"] = "application/octet-stream"
end

local pause = tonumber(os.getenv("BENCH_PAUSE_MS") or "0")
if pause > 0 then
   -- Spread, so that the connections do not fall into step.
   function delay()
      return math.random(math.floor(pause / 2), math.floor(pause * 3 / 2))
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'BENCH {"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "worst": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
      summary.requests, summary.duration, summary.bytes,
      latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
