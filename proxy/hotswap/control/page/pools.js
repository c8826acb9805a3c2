// Pools: what each is, its slots and what fills them, what it waits for, and the buttons about it.

import { h } from "/page/element.js";
import { bytes, count, span, state, whole } from "/page/words.js";
import { charts } from "/page/chart.js";
import { running, summary } from "/page/rollouts.js";
import { waiting } from "/page/waiting.js";

const COLUMNS = ["slot", "generation", "state", "health", "in flight", "connections", "uptime", "memory", "process", ""];
const NUMERIC = new Set(["slot", "generation", "in flight", "connections", "uptime", "memory"]);
const RECENT = 20000; // milliseconds that the end of a rollout is told above its pool
const MEANT = { connections: "conns", generation: "gen" };

const path = (...parts) => ["/v1/pools", ...parts.map(encodeURIComponent)].join("/");
const serves = (backend) => backend.state === "ready" && backend.health === "healthy";

export function pool(name, now, { orders, traffic, rollouts }) {
  const rollout = rollouts.find(({ id }) => id === now.rollout);
  const known = rollouts.filter((one) => one.pool === name);
  const bands = known.map((one) => [Date.parse(one.started), Date.parse(one.started) + one.seconds * 1000]);
  const title = `pool-${name}`;
  return h("section", { class: "pool", "data-key": name, "aria-labelledby": title },
    h("header", {},
      h("h2", { id: title }, name),
      h("p", { class: "facts" }, facts(now).map((fact) => h("span", {}, fact))),
      h("div", { class: "orders" }, buttons(name, now, orders))),
    orders.answer(name),
    notices(now, known, traffic.now),
    rollout && running(rollout, now, orders.button("Abort", path(name, "abort"),
      { pool: name, ask: `End ${rollout.id} early?`, label: `Abort rollout ${rollout.id} of ${name}` })),
    slots(name, now, rollout, orders),
    traffic.now !== null && charts(traffic.series(name), traffic.now, bands, rollout?.generation ?? now.generation));
}

function facts(now) {
  const backends = now.slots.flatMap((slot) => slot.backends);
  const ready = now.slots.filter((slot) => slot.backends.some(serves)).length;
  const flying = backends.reduce((sum, backend) => sum + backend.in_flight, 0);
  return [
    `${ready} of ${now.size} ready`,
    now.supervised ? `generation ${now.generation}` : "static",
    `${whole(flying)} in flight`,
    now.held ? `${whole(now.held)} held` : null,
    now.compatibility === null ? null : `compatibility ${now.compatibility}`,
  ].filter(Boolean);
}

function buttons(name, now, orders) {
  const button = (text, verb, options = {}) =>
    orders.button(text, path(name, verb), { pool: name, label: `${text} ${name}`, ...options });
  return [
    now.supervised && button("Reload", "reload", { kind: "main" }),
    now.paused ? button("Resume", "resume") : button("Pause", "pause", { ask: `Hold requests for ${name}?` }),
    now.locked !== null && button("Unlock", "unlock"),
  ];
}

function notices(now, known, moment) {
  const last = known.at(-1);
  const fresh = last && last.outcome !== "running" && !last.locked && moment - Date.parse(last.started) - 1000 * last.seconds < RECENT;
  const failed = known.findLast((rollout) => rollout.outcome === "failed");
  const hopeless = !now.slots.some((slot) => slot.backends.some(serves)) && now.outlook === "hopeless";
  return h("div", { "data-key": "notices" },
    fresh && h("div", { class: "notice plain", "data-key": last.id }, h("p", {}, state(last.outcome, summary(last)))),
    now.locked !== null && h("div", { class: "notice bad", "data-key": "locked" },
      h("p", {}, state("locked", "Locked"), `: ${now.locked}. `,
        "Reloads are refused and crashed backends stay down. Repair the release, then unlock."),
      failed && failed.output.length > 0 && h("details", { "data-key": "output" },
        h("summary", {}, "The last lines of the backend that failed"), h("pre", { tabindex: "0" }, failed.output.join("\n")))),
    now.paused && h("div", { class: "notice warn", "data-key": "paused" },
      h("p", {}, state("paused", "Paused"), `: ${count(now.held, "request")} held until it is resumed.`)),
    hopeless && h("div", { class: "notice bad", "data-key": "hopeless" },
      h("p", {}, state("failed", "No backend"), ": nothing can be claimed and nothing is coming; requests are answered 503.")));
}

function slots(name, now, rollout, orders) {
  const heads = COLUMNS.map((column) =>
    h("th", { scope: "col", class: NUMERIC.has(column) ? "number" : null, title: column in MEANT ? column : null },
      column === "" ? h("span", { class: "unseen" }, "orders") : MEANT[column] ?? column));
  return h("table", { class: "slots" },
    h("caption", { class: "unseen" }, `Slots of ${name}`),
    h("thead", {}, h("tr", {}, heads)),
    h("tbody", {}, now.slots.flatMap((slot) => slot.backends.length
      ? slot.backends.flatMap((backend, index) => rows(name, now, slot, backend, index, rollout, orders))
      : h("tr", { "data-key": `${slot.slot}-empty` }, cell("slot", slot.slot), cell("generation", "–"),
        cell("state", state("empty", "empty")),
        h("td", { colspan: 7, class: "why" }, slot.failed_starts ? `${count(slot.failed_starts, "failed start")} in a row` : "")))));
}

function cell(column, value, attributes = {}) {
  const kind = [NUMERIC.has(column) ? "number" : null, attributes.class].filter(Boolean).join(" ");
  return h("td", { "data-label": MEANT[column] ?? column, ...attributes, class: kind || null }, value);
}

function rows(name, now, slot, backend, index, rollout, orders) {
  const key = `${slot.slot}-${backend.id}`;
  const where = backend.pid === null ? backend.address : `${backend.pid}`;
  const row = h("tr", { "data-key": key, class: index ? "second" : null },
    cell("slot", index ? "" : slot.slot), cell("generation", backend.generation),
    cell("state", state(backend.state)), cell("health", state(backend.health)),
    cell("in flight", whole(backend.in_flight)), cell("connections", whole(backend.connections)),
    cell("uptime", span(backend.uptime)), cell("memory", bytes(backend.memory)),
    cell("process", where, { title: [backend.address, backend.release, backend.status].filter(Boolean).join(" · ") }),
    h("td", { class: "orders" }, order(name, slot, backend, rollout, orders)));
  const why = waiting(backend);
  return why ? [row, h("tr", { "data-key": `${key}-why`, class: "second" }, h("td", {}),
    h("td", { colspan: 9, class: "why" }, why))] : [row];
}

function order(name, slot, backend, rollout, orders) {
  if (rollout) return null;
  const number = String(slot.slot);
  if (backend.state === "ready") {
    return orders.button("Drain", path(name, "slots", number, "drain"),
      { pool: name, ask: `Drain slot ${number}?`, label: `Drain slot ${number} of ${name}`, kind: "quiet" });
  }
  return slot.drained && orders.button("Readmit", path(name, "slots", number, "readmit"),
    { pool: name, label: `Readmit slot ${number} of ${name}`, kind: "quiet" });
}
