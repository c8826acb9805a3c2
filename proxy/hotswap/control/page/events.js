// Events: the recent ones as a list, and the important ones as sentences for those who listen to the page.

import { h } from "/page/element.js";
import { clock, count, seconds } from "/page/words.js";

const KEPT = 200;
const SHOWN = 80;
const UNSHOWN = new Set(["rollout.report"]);
const PLAIN = new Set(["id", "at", "kind", "pool", "slot", "generation", "backend", "pid", "before", "state", "rollback", "report", "exchanges", "failed_starts", "health", "outcome"]);

// What speaks for itself.
const SPOKEN = new Set(["detail", "last_error", "reason", "exit", "rollout", "message", "code", "seconds", "crashes", "changes"]);

// Kinds whose words are not those of their name.
const NAMES = {
  "backend.added": "backend begins",
  "backend.removed": "backend gone",
  "backend.failed": "backend did not start",
  "backend.not_started": "backend could not be started",
  "backend.backoff": "backend waits for its next start",
  "backend.drained": "nothing in flight any more",
  "backend.drain_timed_out": "drain cut short",
  "backend.ejected": "backend avoided for a while",
  "backend.exited": "process ended",
  "backend.recycling": "backend has reached its limit",
  "backend.recycled": "backend replaced by a fresh one",
  "backend.recycle_failed": "backend kept: no fresh one came up",
  "slot.crash_looping": "crash loop",
  "slot.recovered": "slot well again",
  "pool.hopeless": "no backend left",
  "rollout.step": "rollout goes on",
  "rollout.slot_done": "slot replaced",
  "rollout.slot_failed": "slot not replaced",
  "rollout.slot_aborted": "slot left as it was",
  "config.applied": "configuration applied",
  "config.invalid": "configuration refused",
  "takeover.live": "new process serves",
  "events.missed": "some events are missing",
};

export class Events {
  constructor() {
    this.list = [];
  }

  // Take an event in; false when it was known, as after a reconnection.
  add(event) {
    if (event.id === undefined || this.list.some((known) => known.id === event.id && known.at === event.at)) return false;
    this.list.push(event);
    if (this.list.length > KEPT) this.list.shift();
    return true;
  }

  view() {
    const shown = this.list.filter((event) => !UNSHOWN.has(event.kind)).slice(-SHOWN).reverse();
    return [h("h2", { id: "events-title" }, "Events"),
      h("ol", { tabindex: "0", "aria-label": "Recent events, the newest first" }, shown.map((event) =>
        h("li", { "data-key": `${event.id}-${event.at}`, class: weight(event) },
          h("time", { datetime: event.at }, clock(event.at)), h("b", { title: event.kind }, named(event)), h("span", {}, about(event)))))];
  }
}

function weight({ kind, health }) {
  if (/failed|\.locked|hopeless|crash|timed_out|not_started|invalid/.test(kind) || health === "unhealthy") return "heavy";
  return /started|done|aborted|unlocked|paused|resumed|ready|stopping|recovered/.test(kind) ? "middle" : "light";
}

function about(event) {
  const where = [event.pool, event.slot !== undefined ? `slot ${event.slot}` : null,
    event.generation !== undefined ? `gen ${event.generation}` : null].filter((word) => word !== null && word !== undefined);
  const rest = Object.entries(event).filter(([key, value]) => !PLAIN.has(key) && !empty(value))
    .map(([key, value]) => `${SPOKEN.has(key) ? "" : `${key.replaceAll("_", " ")} `}${told(key, value)}`);
  // The kind of a backend's event is the state it came to; of a rollout's step the state is the news.
  if (event.kind === "rollout.step") rest.unshift(event.state);
  return [...new Set([...where, ...rest])].join(", ");
}

function empty(value) {
  return value === null || value === "" || value === false || (Array.isArray(value) && value.length === 0);
}

function told(key, value) {
  if (key === "crashes") return `after ${count(value, "failure")}`;
  if (key === "next_try") return clock(value);
  if (key === "seconds") return seconds(value);
  if (key === "answer") return `${value.status}${value.page ? " with a page" : ""}`;
  return Array.isArray(value) ? value.map((one) => one.request_line ?? one).join("; ") : value;
}

// An event as people would say it.
function named({ kind, health }) {
  if (kind === "backend.health") return `Backend ${health}`;
  const words = NAMES[kind] ?? kind.replaceAll(/[._]/g, " ");
  return words[0].toUpperCase() + words.slice(1);
}

// What is said aloud; null for what is not worth interrupting for.
export function spoken(event) {
  const { kind, pool, slot, rollout } = event;
  switch (kind) {
    case "rollout.started": return `Rollout ${rollout} of ${pool} has started`;
    case "rollout.slot_done": return `Slot ${slot} of ${pool} was replaced`;
    case "rollout.slot_failed": return `Slot ${slot} of ${pool} was not replaced`;
    case "rollout.done": return `Rollout ${rollout} of ${pool} is done`;
    case "rollout.failed": return `Rollout ${rollout} of ${pool} failed: ${event.detail}`;
    case "rollout.aborted": return `Rollout ${rollout} of ${pool} was aborted`;
    case "pool.locked": case "pool.unlocked": case "pool.paused": case "pool.resumed": case "pool.hopeless":
      return `${pool} is ${kind.split(".")[1]}`;
    default: return null;
  }
}
