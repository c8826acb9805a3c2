// Small charts of traffic, one column a quantity, one row the pool or a generation, all rows on one scale.

import { h } from "/page/element.js";
import { latency, rate, whole } from "/page/words.js";
import { WINDOW, recently } from "/page/traffic.js";

const WIDTH = WINDOW;
const HEIGHT = 30;

// Latencies are drawn on a logarithmic scale: what doubles looks the same at 1 ms and at 1 s.
export const QUANTITIES = [
  { name: "requests/s", of: (sample) => sample.requests, value: (now) => rate(now.rate), text: rate, unit: "requests/s" },
  { name: "p50", of: (sample) => sample.p50, value: (now) => latency(now.p50), text: latency, logarithmic: true, unit: "p50" },
  { name: "p99", of: (sample) => sample.p99, value: (now) => latency(now.p99), text: latency, logarithmic: true, unit: "p99" },
  { name: "errors", of: (sample) => sample.errors, value: (_, sum) => whole(sum), text: whole, bad: true, unit: "errors" },
];

const STEPS = [1, 1.5, 2, 3, 5, 7, 10];

// The two ends of a quantity's scale; null when there is nothing to draw.
function scale({ of, logarithmic }, series) {
  const values = series.flatMap(({ samples }) => samples.map(of)).filter((value) => value > 0);
  if (!values.length) return null;
  const largest = Math.max(...values);
  const power = 10 ** Math.floor(Math.log10(largest));
  const top = power * STEPS.find((step) => step * power >= largest * 0.999);
  if (!logarithmic) return { bottom: 0, top, at: (value) => value / top };
  const smallest = Math.min(...values, top / 10);
  const decade = 10 ** Math.floor(Math.log10(smallest));
  const bottom = decade * STEPS.findLast((step) => step * decade <= smallest * 1.001);
  return { bottom, top, at: (value) => Math.log(value / bottom) / Math.log(top / bottom) };
}

function ends({ text }, found) {
  if (!found) return "";
  return found.bottom ? `${text(found.bottom)} – ${text(found.top)}` : `to ${text(found.top)}`;
}

// The charts of one pool; generation `current` is the new one. `bands` are the rollouts that fell into the window, from and to in milliseconds.
export function charts(series, now, bands, current) {
  const shown = series.length > 2 ? series : series.slice(0, 2);
  const scales = QUANTITIES.map((quantity) => scale(quantity, shown));
  const heads = QUANTITIES.map((quantity, index) =>
    h("th", { scope: "col" }, quantity.name, " ", h("span", { class: "ends" }, ends(quantity, scales[index]))));
  return h("table", { class: "traffic" },
    h("caption", {}, "Traffic of the last two minutes; numbers are of the last ten seconds, errors of both minutes"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "served by")), heads)),
    h("tbody", {}, shown.map(({ key, samples }) => row(key, samples, now, bands, scales, current))));
}

function row(key, samples, now, bands, scales, current) {
  const name = key === "all" ? "all" : key === "0" ? "proxy" : `gen ${key}`;
  const recent = recently(samples, now);
  const errors = samples.reduce((sum, sample) => sum + sample.errors, 0);
  const role = key === String(current) ? "new" : key === "all" ? "all" : "old";
  const cells = QUANTITIES.map((quantity, index) => {
    const text = quantity.value(recent, errors);
    const label = `${quantity.name}, ${name}: ${text}; scale ${ends(quantity, scales[index]) || "empty"}`;
    return h("td", { class: quantity.bad && errors ? "bad" : null, "data-label": quantity.name },
      h("span", { class: "figure" }, text), chart(quantity, samples, now, bands, scales[index], label, index));
  });
  const title = key === "0" ? "answered by the proxy itself: no backend had taken it" : null;
  return h("tr", { "data-key": key, class: role }, h("th", { scope: "row", title }, name), cells);
}

function chart(quantity, samples, now, bands, found, label, index) {
  const x = (moment) => WIDTH - (now - moment) / 1000;
  const y = (value) => HEIGHT - 1.5 - (found ? found.at(value) : 0) * (HEIGHT - 4);
  const within = bands.filter(([from, to]) => x(to) > 0 && x(from) < WIDTH);
  return h("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "data-quantity": index,
    "aria-label": label },
    within.map(([from, to]) => h("rect", { class: "band", x: Math.max(0, x(from)).toFixed(1), y: 0,
      width: Math.max(0.8, Math.min(WIDTH, x(to)) - Math.max(0, x(from))).toFixed(1), height: HEIGHT })),
    h("path", { class: "floor", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
    h("path", quantity.logarithmic ? { class: "line", d: line(samples, quantity, x, y) }
      : { class: "bars", d: bars(samples, quantity, x, y) }));
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
