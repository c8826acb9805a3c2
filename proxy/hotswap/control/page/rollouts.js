// Rollouts: a running one drawn slot by slot on a line of time, and the reports of those that ended.

import { h } from "/page/element.js";
import { clock, count, seconds, state } from "/page/words.js";
import { exchange } from "/page/waiting.js";

const PHASES = {
  pending: "waits for its turn",
  starting: "replacement starts, old one drains",
  "starting-drained": "replacement starts, old one has drained",
  "starting-overdue": "replacement starts, old one is past its drain timeout",
  "starting-alone": "replacement starts, old one is gone",
  draining: "old one drains",
  stopping: "old one stops",
  reverting: "failed: old one serves again",
  aborting: "aborting: old one serves again",
  abandoning: "aborting: old one cannot be called back",
  done: "replaced",
  failed: "failed",
  aborted: "aborted",
};

const REVERTED = new Set(["reverting", "aborting", "failed", "aborted"]);
const STARTING = new Set(["starting", "starting-drained", "starting-overdue", "starting-alone"]);
const LEGEND = [["serve", "old serves"], ["drain", "drains"], ["idle", "drained"], ["stop", "stops"],
  ["start", "new starts"], ["fresh", "new serves"]];

// The panel of a rollout in progress.
export function running(rollout, pool, abort) {
  const { all, done } = sums(rollout);
  return h("section", { class: "rollout", "data-key": `rollout-${rollout.id}`, "aria-label": `Rollout ${rollout.id}` },
    h("header", {},
      h("h3", {}, state("running", `Rollout ${rollout.id}`)),
      h("p", { class: "facts" }, h("span", {}, `to generation ${rollout.generation}`), h("span", {}, rollout.strategy),
        h("span", {}, `by ${rollout.trigger}`), h("span", {}, `${done} of ${count(all, "slot")} replaced`),
        h("span", {}, seconds(rollout.seconds))),
      h("div", { class: "orders" }, abort)),
    drawing(rollout, pool));
}

// How one ended, in a line.
export function summary(rollout) {
  const { all, done, cut } = sums(rollout);
  return `Rollout ${rollout.id} ${rollout.outcome}: ${done} of ${count(all, "slot")} replaced in ${seconds(rollout.seconds)}, ${cut} cut`;
}

function sums({ slots }) {
  const forward = slots.filter((slot) => !slot.rollback);
  return { all: forward.length, done: forward.filter((slot) => slot.state === "done").length,
    cut: slots.reduce((total, slot) => total + slot.exchanges.cut, 0) };
}

// The reports, the newest first.
export function reports(rollouts) {
  const ended = rollouts.filter((rollout) => rollout.outcome !== "running").reverse();
  return [h("h2", { id: "rollouts-title" }, "Rollouts"),
    ended.length ? ended.map(report) : h("p", { class: "none" }, "None has ended yet.")];
}

function report(rollout) {
  const { all, done, cut } = sums(rollout);
  return h("details", { class: "report", "data-key": rollout.id },
    h("summary", {},
      h("span", { class: "id" }, rollout.id), h("span", { class: "of" }, rollout.pool), state(rollout.outcome),
      h("span", { class: "count" }, `${done} of ${count(all, "slot")}`),
      h("span", { class: "number" }, seconds(rollout.seconds)), h("span", { class: "number" }, `${cut} cut`), h("time", { datetime: rollout.started }, clock(rollout.started))),
    rollout.reason && h("p", { class: "reason" },
      rollout.reason !== rollout.outcome && [h("code", {}, rollout.reason), ": "], `${rollout.detail}.`,
      !rollout.rolled_back ? "" : rollout.slots.some((slot) => slot.rollback) ? " The slots are back at the release before." : " The pool is as it was.",
      rollout.locked ? " The pool was locked." : ""),
    rollout.output.length > 0 && h("pre", { tabindex: "0", "aria-label": "last lines of the backend" }, rollout.output.join("\n")),
    drawing(rollout, null),
    figures(rollout),
    rollout.slots.filter((slot) => slot.waited_for.length).map((slot) => h("div", { class: "why" },
      h("p", {}, `Cut at the end of the drain of slot ${slot.slot}:`), h("ul", {}, slot.waited_for.map(exchange)))));
}

const FIGURES = [["slot", (slot) => (slot.rollback ? `${slot.slot} back` : slot.slot)],
  ["generation", (slot) => `${slot.old_generation} → ${slot.new_generation}`],
  ...["starting", "draining", "stopping", "total"].map((phase) => [phase, (slot) => seconds(slot.seconds[phase])]),
  ...["drained", "held", "retried", "cut"].map((key) => [key, (slot) => slot.exchanges[key]]),
  ["longest delay", (slot) => seconds(slot.exchanges.longest_delay)]];

function figures(rollout) {
  return h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Figures of ${rollout.id}` },
    h("table", { class: "figures" },
      h("caption", { class: "unseen" }, `Figures of rollout ${rollout.id} by slot`),
      h("thead", {}, h("tr", {}, FIGURES.map(([name]) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, rollout.slots.map((slot) =>
        h("tr", {}, FIGURES.map(([, value]) => h("td", { class: "number" }, value(slot))))))));
}

// The drawing. Two lanes a slot, the old backend above its replacement.
function drawing(rollout, pool) {
  const live = rollout.outcome === "running";
  const slots = rollout.slots.filter((slot) => live || slot.offsets.turn !== null);
  if (!slots.length) return null;
  const end = rollout.seconds;
  const axis = live ? Math.max(5, end * 1.2, 1.02 * (deadline(rollout, pool) ?? 0)) : Math.max(end, 0.1);
  return h("div", { class: "drawing", "data-key": "drawing" },
    slots.map((slot) => turn(slot, rollout, pool, end, axis, live)),
    h("div", { class: "turn scale", "aria-hidden": "true" }, h("span", {}), h("svg", { height: 16 }, ticks(axis)), h("span", {})),
    h("p", { class: "legend", "aria-hidden": "true" }, LEGEND.map(([kind, word]) =>
      h("span", {}, h("svg", { width: 18, height: 8 }, hatch(`legend-${rollout.id}`), bar(kind, 0, 1, 1, 0, `legend-${rollout.id}`)), ` ${word}`)),
      live && h("span", {}, h("svg", { width: 18, height: 8 }, h("line", { class: "left", x1: 0, x2: 16, y1: 4, y2: 4 }),
        h("line", { class: "limit", x1: 16, x2: 16, y1: 0, y2: 8 })), " what is left is cut")));
}

const backendOf = (slot, pool) => pool?.slots.find((one) => one.slot === slot.slot)?.backends
  .find((backend) => backend.generation === slot.old_generation && backend.state === "draining");

// Where the drain at hand runs out of time, in seconds after the beginning.
function deadline(rollout, pool) {
  for (const slot of rollout.slots) {
    const left = backendOf(slot, pool)?.drain_left;
    // A far deadline would squeeze everything else: it is told in words alone until it is near.
    if (left && left < Math.max(10, rollout.seconds)) return rollout.seconds + left;
  }
  return null;
}

function turn(slot, rollout, pool, end, axis, live) {
  const key = `${slot.slot}${slot.rollback ? "-back" : ""}`;
  const id = `hatch-${rollout.id}-${key}`;
  const bars = [...lanes(slot, end, live)].map(([kind, lane, from, to]) => bar(kind, from / axis, to / axis, lane, axis, id));
  const limit = live && backendOf(slot, pool)?.drain_left ? deadline(rollout, pool) : null;
  return h("div", { class: `turn ${slot.state}`, "data-key": key },
    h("span", { class: "which" }, h("b", {}, `slot ${slot.slot}`), ` ${slot.old_generation} → ${slot.new_generation}${slot.rollback ? ", back" : ""}`),
    h("svg", { height: 22, role: "img", "aria-label": `slot ${slot.slot}: ${words(slot, pool)}` }, hatch(id), bars,
      limit !== null && [h("line", { class: "left", x1: part(end / axis), x2: part(limit / axis), y1: 5, y2: 5 }),
        h("line", { class: "limit", x1: part(limit / axis), x2: part(limit / axis), y1: 0, y2: 10 })]),
    h("span", { class: "words" }, words(slot, pool)));
}

function words(slot, pool) {
  if (slot.state === "done") return `replaced in ${seconds(slot.seconds.total)}${slot.exchanges.cut ? `, ${slot.exchanges.cut} cut` : ""}`;
  if (slot.state === "failed") return `failed: ${slot.detail || slot.reason}`;
  const old = backendOf(slot, pool);
  const left = old && old.drain_left !== null ? `, ${seconds(old.drain_left)} left` : "";
  return (PHASES[slot.state] ?? slot.state) + (old?.in_flight ? `: ${old.in_flight} in flight${left}` : "");
}

// What both lanes show, as kind, lane, from, to.
function* lanes(slot, end, live) {
  const { turn: began, starting, draining, stopping } = slot.offsets;
  const took = slot.seconds;
  const now = live ? end : Math.max(end, 0.1);
  if (began === null) {
    yield ["serve", 0, 0, now];
    return;
  }
  const gone = slot.state === "done" || slot.state === "starting-alone" || (stopping !== null && slot.state !== "stopping" && slot.state !== "abandoning");
  const over = began + took.total;
  const leaves = draining ?? stopping ?? (gone ? over : now);
  yield ["serve", 0, 0, leaves];
  if (draining !== null) {
    yield ["drain", 0, draining, draining + took.draining];
    const until = stopping ?? (REVERTED.has(slot.state) ? draining + took.draining : gone ? over : now);
    if (until > draining + took.draining) yield ["idle", 0, draining + took.draining, until];
    if (stopping === null && REVERTED.has(slot.state)) yield ["serve", 0, draining + took.draining, now];
  }
  if (stopping !== null) yield ["stop", 0, stopping, stopping + took.stopping];
  if (starting !== null) {
    const ready = starting + took.starting;
    const failed = slot.state === "failed" || slot.state === "reverting";
    yield [failed ? "broken" : "start", 1, starting, ready];
    if (!STARTING.has(slot.state) && !REVERTED.has(slot.state)) yield ["fresh", 1, ready, now];
  }
}

const part = (fraction) => `${(100 * fraction).toFixed(2)}%`;

function bar(kind, from, to, lane, axis, id) {
  const y = lane === 0 ? 1 : 12;
  const place = { x: part(from), width: part(Math.max(0, to - from)) };
  if (axis === 0) Object.assign(place, { x: "0%", width: "100%" });
  return h("rect", { class: kind, y: axis === 0 ? 0 : y, height: 8, rx: 1, ...place, fill: kind === "drain" ? `url(#${id})` : null });
}

// Stripes: a drain is told from the rest by its pattern.
function hatch(id) {
  return h("defs", {}, h("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    h("rect", { class: "stripe", width: 2.5, height: 5 })));
}

function ticks(axis) {
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find((size) => axis / size <= 7) ?? 7200;
  const found = [];
  for (let second = 0; second <= axis; second += step) {
    const last = second / axis > 0.94;
    found.push(h("line", { x1: part(second / axis), x2: part(second / axis), y1: 0, y2: 4 }),
      h("text", { x: part(second / axis), y: 14, "text-anchor": last ? "end" : second ? "middle" : "start" }, `${second} s`));
  }
  return found;
}
