// What a drain waits for, and what was cut at its end.

import { h } from "/page/element.js";
import { bytes, count, seconds } from "/page/words.js";

const NAMED = 3;

// What a drain waits for, the oldest first.
export function waiting(backend) {
  const held = backend.waiting_for ?? [];
  if (!held.length) return null;
  const left = backend.drain_left === null ? "" : backend.drain_left > 0 ? `; ${seconds(backend.drain_left)} left` : "; its time is over";
  const more = backend.in_flight - Math.min(NAMED, held.length);
  return [h("p", {}, `waits for ${count(backend.in_flight, "exchange")}${left}`),
    h("ul", {}, held.slice(0, NAMED).map(exchange), more > 0 && h("li", {}, `and ${more} more`))];
}

export function exchange(one) {
  const moved = one.tunnel ? "a tunnel, " : "";
  return h("li", {}, h("code", {}, one.request_line), ` from ${one.client}, ${moved}${seconds(one.age)} old, `,
    `${bytes(one.request_bytes)} in, ${bytes(one.response_bytes)} out`);
}
