// Small charts of traffic, one column a quantity, one row the pool or a generation, all rows on one scale.

import { h } from "/page/element.js";
import { latency, rate, whole } from "/page/words.js";
import { WINDOW, recently } from "/page/traffic.js";

const WIDTH = WINDOW;
const HEIGHT = 30;

const QUANTITIES = [
  { name: "requests/s", of: (sample) => sample.requests, value: (now) => rate(now.rate), top: rate, bars: true },
  { name: "p50", of: (sample) => sample.p50, value: (now) => latency(now.p50), top: latency },
  { name: "p99", of: (sample) => sample.p99, value: (now) => latency(now.p99), top: latency },
  { name: "errors", of: (sample) => sample.errors, value: (_, sum) => whole(sum), top: whole, bars: true, bad: true },
];

// A scale's upper end: the next 1, 2 or 5 of its power of ten.
function ceiling(value) {
  if (!value) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}

// The charts of one pool. `bands` are the rollouts that fell into the window, from and to in milliseconds.
export function charts(pool, series, now, bands, current) {
  const shown = series.length > 2 ? series : series.slice(0, 2);
  const tops = QUANTITIES.map(({ of }) => ceiling(Math.max(0, ...shown.flatMap(({ samples }) => samples.map(of)))));
  const heads = QUANTITIES.map(({ name, top }, index) =>
    h("th", { scope: "col" }, name, " ", h("span", { class: "top" }, tops[index] ? `to ${top(tops[index])}` : "")));
  return h("table", { class: "traffic" },
    h("caption", {}, "Traffic of the last two minutes; numbers are of the last ten seconds, errors of both minutes"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "served by")), heads)),
    h("tbody", {}, shown.map(({ key, samples }) => row(pool, key, samples, now, bands, tops, current))));
}

function row(pool, key, samples, now, bands, tops, current) {
  const name = key === "all" ? "all" : key === "0" ? "proxy" : `gen ${key}`;
  const recent = recently(samples, now);
  const errors = samples.reduce((sum, sample) => sum + sample.errors, 0);
  const role = key === String(current) ? "new" : key === "all" ? "all" : "old";
  const cells = QUANTITIES.map((quantity, index) => {
    const text = quantity.value(recent, errors);
    const label = `${quantity.name}, ${name}: ${text}, scale to ${quantity.top(tops[index])}`;
    return h("td", { class: quantity.bad && errors ? "bad" : null, "data-label": quantity.name },
      h("span", { class: "figure" }, text), chart(quantity, samples, now, bands, tops[index], label));
  });
  const title = key === "0" ? "answered by the proxy itself: no backend had taken it" : null;
  return h("tr", { "data-key": key, class: role }, h("th", { scope: "row", title }, name), cells);
}

function chart(quantity, samples, now, bands, top, label) {
  const x = (moment) => WIDTH - (now - moment) / 1000;
  const y = (value) => (top ? HEIGHT - 1 - (value / top) * (HEIGHT - 3) : HEIGHT - 1);
  const within = bands.filter(([from, to]) => x(to) > 0 && x(from) < WIDTH);
  return h("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": label },
    within.map(([from, to]) => h("rect", { class: "band", x: Math.max(0, x(from)).toFixed(1), y: 0,
      width: Math.max(0.8, Math.min(WIDTH, x(to)) - Math.max(0, x(from))).toFixed(1), height: HEIGHT })),
    h("path", { class: "floor", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
    h("path", quantity.bars ? { class: "bars", d: bars(samples, quantity, x, y) }
      : { class: "line", d: line(samples, quantity, x, y) }));
}

function bars(samples, { of }, x, y) {
  return samples.filter((sample) => of(sample) > 0)
    .map((sample) => `M${(x(sample.at) - 0.95).toFixed(1)} ${HEIGHT - 1}V${y(of(sample)).toFixed(1)}h.9V${HEIGHT - 1}z`)
    .join("");
}

// Seconds without traffic have no latency: the line has a gap there.
function line(samples, { of }, x, y) {
  let last = -Infinity;
  return samples.map((sample) => {
    const begins = sample.at - last > 1600;
    last = sample.at;
    const place = `${x(sample.at).toFixed(1)} ${y(of(sample)).toFixed(1)}`;
    return begins ? `M${place}h.4` : `L${place}`;
  }).join("");
}
