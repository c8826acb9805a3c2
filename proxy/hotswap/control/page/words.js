// Numbers, times and states as people read them. A state is told by a word and a shape; colour only repeats it.

import { h } from "/page/element.js";

const SHAPES = {
  ready: ["circle", { cx: 6, cy: 6, r: 4.5, class: "full" }],
  starting: ["path", { d: "M6 1.5a4.5 4.5 0 1 0 0 9zM6 1.5a4.5 4.5 0 0 1 0 9", class: "half" }],
  draining: ["path", { d: "M1.5 2.5h9L6 10z", class: "hollow" }],
  stopping: ["rect", { x: 2, y: 2, width: 8, height: 8, class: "hollow" }],
  stopped: ["path", { d: "M2 6h8", class: "stroke" }],
  failed: ["path", { d: "M2.5 2.5l7 7m0-7l-7 7", class: "stroke" }],
  backoff: ["circle", { cx: 6, cy: 6, r: 4.3, class: "dotted" }],
  empty: ["circle", { cx: 6, cy: 6, r: 4.3, class: "dotted" }],
  healthy: ["path", { d: "M2 6.5l3 3 5-7", class: "stroke" }],
  unhealthy: ["path", { d: "M6 1v6m0 2.2v1.8", class: "stroke" }],
  unknown: ["circle", { cx: 6, cy: 6, r: 1.6, class: "full" }],
  running: ["path", { d: "M3 1.5l7 4.5-7 4.5z", class: "full" }],
  done: ["path", { d: "M2 6.5l3 3 5-7", class: "stroke" }],
  aborted: ["path", { d: "M2 2h8v8H2z", class: "full" }],
  live: ["circle", { cx: 6, cy: 6, r: 4.5, class: "full" }],
  lost: ["path", { d: "M2.5 2.5l7 7m0-7l-7 7", class: "stroke" }],
  connecting: ["circle", { cx: 6, cy: 6, r: 4.3, class: "dotted" }],
  locked: ["path", { d: "M3.5 5.5v-2a2.5 2.5 0 0 1 5 0v2M2 5.5h8v5.5H2z", class: "stroke" }],
  paused: ["path", { d: "M3.5 2v8m5-8v8", class: "stroke" }],
};

// A state as shape and word.
export function state(word, text = word) {
  const [tag, attributes] = SHAPES[word] ?? SHAPES.unknown;
  const shape = h("svg", { class: "shape", viewBox: "0 0 12 12", "aria-hidden": "true" }, h(tag, attributes));
  return h("span", { class: `state ${word}` }, shape, " ", text);
}

export function count(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

// A whole number with thin spaces between thousands.
export function whole(number) {
  return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

// A rate: three digits at most.
export function rate(number) {
  if (number >= 99.5 || number === 0) return whole(number);
  return number >= 9.95 ? number.toFixed(0) : number.toFixed(1);
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  let value = number;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1000 || unit === "GiB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1024;
  }
}

// A duration of something that is measured: three digits and its unit.
export function latency(seconds) {
  if (seconds === null) return "–";
  const milliseconds = seconds * 1000;
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

// A duration of something that is waited for.
export function seconds(number) {
  if (number === null || number === undefined) return "–";
  return number < 99.95 ? `${number.toFixed(1)} s` : span(number);
}

// A long time, in its two largest units.
export function span(number) {
  if (number === null || number === undefined) return "–";
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = units.findIndex(([size]) => number >= size);
  if (first === -1) return "0 s";
  const [size, unit] = units[first];
  const major = Math.floor(number / size);
  if (first === units.length - 1 || major >= 10 && first > 0) return `${major} ${unit}`;
  const [smaller, minor] = units[first + 1];
  return `${major} ${unit} ${Math.floor((number % size) / smaller)} ${minor}`;
}

// The end of a path, as much of it as tells it from its neighbours.
export function short(path, parts = 2) {
  const names = path.split("/").filter(Boolean);
  if (names.length <= parts) return path;
  return parts === 1 ? names.at(-1) : `…/${names.slice(-parts).join("/")}`;
}

// The day of a moment, and how far away it is where that is not far.
export function day(moment, now) {
  const far = Math.abs(Date.parse(moment) - now) > 400 * 86400 * 1000;
  return `${moment.slice(0, 10)}${far ? "" : `, ${until(moment, now)}`}`;
}

// How far away a moment is, ahead or past.
export function until(moment, now) {
  const left = (Date.parse(moment) - now) / 1000;
  return left >= 0 ? `in ${span(left)}` : `${span(-left)} ago`;
}

// The time of day of a moment, in the reader's own zone.
export function clock(moment) {
  return new Date(moment).toLocaleTimeString("en-GB");
}
