// The page as a whole: it asks, listens, and shows what it knows; and says so when it knows nothing new.

import { Connection } from "/page/connection.js";
import { h, show } from "/page/element.js";
import { answers, clients, listeners } from "/page/listeners.js";
import { Pointer } from "/page/pointer.js";
import { Events, spoken } from "/page/events.js";
import { Orders } from "/page/orders.js";
import { pool } from "/page/pools.js";
import { reports } from "/page/rollouts.js";
import { Traffic } from "/page/traffic.js";
import { clock, short, span, state } from "/page/words.js";

const CALM = 1000; // milliseconds between two looks
const BUSY = 400; // the same while a rollout runs
const AT_ONCE = 60; // after an event, so that a burst of them is one look

const place = (id) => document.getElementById(id);
const known = { status: null, rollouts: [], seen: null, predecessor: null };
const traffic = new Traffic();
const events = new Events();

const connection = new Connection({
  changed: (now) => {
    draw();
    if (now === "lost") say("Connection lost");
    if (now === "live" && known.seen) say("Connected again");
    look(0);
  },
  event: (event) => {
    if (!events.add(event)) return;
    const sentence = spoken(event);
    // What happened before the page was opened is not news.
    if (sentence && known.status && Date.now() - Date.parse(event.at) < 10000) say(sentence);
    look(AT_ONCE);
  },
  wants: () => {
    if (!place("token").open) place("token").showModal();
  },
});
new Pointer(place("pointer"), traffic);
const orders = new Orders(connection, () => {
  draw();
  look(0);
});

function say(sentence) {
  place("news").textContent = sentence;
}

let alarm = null;
let looking = false;
let due = Infinity;

// Look at the proxy soon; looks never overlap.
function look(delay) {
  const moment = Date.now() + delay;
  if (moment >= due) return;
  due = moment;
  clearTimeout(alarm);
  alarm = setTimeout(take, delay);
}

async function take() {
  due = Infinity;
  if (looking) return look(AT_ONCE);
  looking = true;
  try {
    const [status, { rollouts }] = await Promise.all([connection.get("/v1/status"), connection.get("/v1/rollouts")]);
    if (known.status && known.status.pid !== status.pid) known.predecessor = known.status.pid;
    // A process that took over does not know the rollouts of the one before; the page still does.
    const told = new Set(rollouts.map(({ id }) => id));
    const before = known.rollouts.filter(({ id, outcome }) => !told.has(id) && outcome !== "running");
    Object.assign(known, { status, rollouts: [...before, ...rollouts].slice(-20), seen: Date.now() });
    traffic.add(await connection.get(traffic.path(`${status.pid} ${status.started}`)));
  } catch {
    // The connection says what is wrong with it.
  } finally {
    looking = false;
  }
  draw();
  const hidden = document.visibilityState === "hidden";
  if (!hidden) look(known.rollouts.some(({ outcome }) => outcome === "running") ? BUSY : CALM);
}

function draw() {
  const { status } = known;
  document.body.classList.toggle("stale", connection.state !== "live" && status !== null);
  show(place("head"), head(status));
  show(place("lost"), lost());
  if (status === null) return;
  const names = Object.keys(status.pools);
  show(place("pools"), orders.answer(),
    names.length ? names.map((name) => pool(name, status.pools[name], { orders, traffic, rollouts: known.rollouts, routes: answers(name, status.routes) }))
      : h("p", { class: "none" }, "There is no pool."));
  show(place("listeners"), listeners(status, known.seen));
  show(place("events"), events.view());
  show(place("rollouts"), reports(known.rollouts));
  const rolling = known.rollouts.find(({ outcome }) => outcome === "running");
  document.title = rolling ? `▸ ${rolling.pool} · hotswap` : connection.state === "live" ? "hotswap" : "✕ hotswap";
}

function head(status) {
  const words = { live: "live", lost: "connection lost", connecting: "connecting" };
  const link = h("p", { class: "link" }, state(connection.state, words[connection.state]));
  if (status === null) return [h("h1", {}, "hotswap"), link];
  const facts = [
    `version ${status.version}`,
    `process ${status.pid}${known.predecessor === null ? "" : `, which took over from ${known.predecessor}`}`,
    `up ${span((known.seen - Date.parse(status.started)) / 1000)}`,
    clients(status),
  ];
  return [h("h1", {}, "hotswap"), link,
    h("p", { class: "facts" }, status.stopping && h("strong", {}, "stopping"), facts.map((fact) => h("span", {}, fact)),
      h("span", { title: status.config }, short(status.config))),
    h("div", { class: "orders" }, orders.button("Reload all", "/v1/reload", { label: "Reload every pool" }))];
}

function lost() {
  if (connection.state !== "lost") return null;
  return h("div", { class: "notice bad" },
    h("p", {}, state("lost", "Connection lost"), ` at ${clock(connection.heard)}. What is shown is the state of then; `,
      "it is tried again all the time."),
    h("button", { type: "button", "data-again": true }, "Try now"));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if ("again" in button.dataset) connection.again();
  else if ("path" in button.dataset || "dismiss" in button.dataset) orders.press(button);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && orders.armed) orders.disarm();
});
document.addEventListener("visibilitychange", () => look(0));
place("token").addEventListener("submit", (event) => {
  event.preventDefault();
  connection.use(place("token-value").value);
  place("token-value").value = "";
  place("token").close();
  look(0);
});

draw();
look(0);
connection.listen();
