// Pools: what each is, its slots and what fills them, what it waits for, and the buttons about it.

import { h } from "/page/element.js";
import { bytes, count, short, span, state, until, whole } from "/page/words.js";
import { charts } from "/page/chart.js";
import { running, summary } from "/page/rollouts.js";
import { waiting } from "/page/waiting.js";

const COLUMNS = ["slot", "generation", "state", "health", "in flight", "connections", "uptime", "memory", "release", "process", ""];
const NUMERIC = new Set(["slot", "generation", "in flight", "connections", "uptime", "memory"]);
const RECENT = 20000; // milliseconds that the end of a rollout is told above its pool
const MEANT = { connections: "conns", generation: "gen" };

const path = (...parts) => ["/v1/pools", ...parts.map(encodeURIComponent)].join("/");
const serves = (backend) => backend.state === "ready" && backend.health === "healthy";

export function pool(name, now, { orders, traffic, rollouts, routes }) {
  const rollout = rollouts.find(({ id }) => id === now.rollout);
  const known = rollouts.filter((one) => one.pool === name);
  const bands = known.map((one) => [Date.parse(one.started), Date.parse(one.started) + one.seconds * 1000]);
  const title = `pool-${name}`;
  return h("section", { class: "pool", "data-key": name, "data-pool-name": name, "aria-labelledby": title },
    h("header", {},
      h("h2", { id: title }, name),
      h("p", { class: "facts" }, facts(now, routes).map((fact) => h("span", {}, fact))),
      h("div", { class: "orders" }, buttons(name, now, orders))),
    orders.answer(name),
    notices(now, known, Date.now()),
    rollout && running(rollout, now, orders.button("Abort", path(name, "abort"),
      { pool: name, ask: `End ${rollout.id} early?`, label: `Abort rollout ${rollout.id} of ${name}` })),
    slots(name, now, rollout, orders),
    traffic.now !== null && charts(traffic.series(name), traffic.now, bands, rollout?.generation ?? now.generation));
}

function facts(now, routes) {
  const backends = now.slots.flatMap((slot) => slot.backends);
  const ready = now.slots.filter((slot) => slot.backends.some(serves)).length;
  const flying = backends.reduce((sum, backend) => sum + backend.in_flight, 0);
  return [
    routes.length ? `answers ${routes.join(", ")}` : "no route leads here",
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
    now.locked !== null && button("Unlock", "unlock", { kind: "main" }),
    now.supervised && button("Reload", "reload", { kind: now.locked === null ? "main" : null }),
    now.paused ? button("Resume", "resume") : button("Pause", "pause", { ask: `Hold requests for ${name}?` }),
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
        "Reloads are refused and crashed backends stay down. Repair the release, unlock, then reload."),
      failed && failed.output.length > 0 && h("details", { "data-key": "output", open: true },
        h("summary", {}, "The last lines of the backend that failed"), h("pre", { tabindex: "0" }, failed.output.join("\n")))),
    now.paused && h("div", { class: "notice warn", "data-key": "paused" },
      h("p", {}, state("paused", "Paused"), now.answer
        ? `: requests are answered ${now.answer.status}${now.answer.page ? " with a page" : ""} until it is resumed.`
        : `: ${count(now.held, "request")} held until it is resumed.`)),
    hopeless && h("div", { class: "notice bad", "data-key": "hopeless" },
      h("p", {}, state("failed", "No backend"), ": nothing serves and nothing is coming; requests are answered 503.",
        now.supervised && now.locked === null && " A reload starts the pool from the release that is there now.")));
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
      : [h("tr", { "data-key": `${slot.slot}-empty` }, cell("slot", slot.slot), cell("generation", "–"),
        cell("state", state("empty")), h("td", { colspan: 5 }),
        cell("release", h("span", {}, slot.release === null ? "–" : short(slot.release, 1)), { title: slot.release }),
        h("td", { colspan: 2 })), ...trouble(slot)])));
}

// Why a slot is not well, how often it was tried in vain, and when it is tried again.
function trouble(slot) {
  if (slot.last_error === null) return [];
  const what = slot.attempts === slot.failed_starts ? "failed start" : "failure";
  const facts = [slot.attempts > 0 && `${count(slot.attempts, what)} in a row`,
    slot.next_try !== null && `next try ${until(slot.next_try, Date.now())}`].filter(Boolean);
  return [h("tr", { "data-key": `${slot.slot}-error`, class: "second" }, h("td", {}),
    h("td", { colspan: 10, class: "why error" }, h("p", {}, slot.last_error),
      facts.length > 0 && h("p", { class: "facts" }, facts.map((fact) => h("span", {}, fact)))))];
}

function cell(column, value, attributes = {}) {
  const kind = [NUMERIC.has(column) ? "number" : null, attributes.class].filter(Boolean).join(" ");
  return h("td", { "data-label": MEANT[column] ?? column, ...attributes, class: kind || null }, value);
}

function rows(name, now, slot, backend, index, rollout, orders) {
  const key = `${slot.slot}-${backend.id}`;
  const where = backend.pid !== null ? `${backend.pid}` : now.supervised ? "–" : short(backend.address);
  const release = backend.release ?? slot.release;
  const row = h("tr", { "data-key": key, class: index ? "second" : null },
    cell("slot", index ? "" : slot.slot), cell("generation", backend.generation),
    cell("state", state(backend.state)), cell("health", state(backend.health)),
    cell("in flight", whole(backend.in_flight)), cell("connections", whole(backend.connections)),
    cell("uptime", span(backend.uptime)), cell("memory", bytes(backend.memory)),
    cell("release", h("span", {}, release === null ? "–" : short(release, 1)), { title: release }),
    cell("process", h("span", {}, where), { title: [backend.address, backend.status].filter(Boolean).join(" · ") }),
    h("td", { class: "orders" }, order(name, slot, backend, rollout, orders)));
  const why = waiting(backend);
  const last = index === slot.backends.length - 1 ? trouble(slot) : [];
  return why ? [row, h("tr", { "data-key": `${key}-why`, class: "second" }, h("td", {}),
    h("td", { colspan: 10, class: "why" }, why)), ...last] : [row, ...last];
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
