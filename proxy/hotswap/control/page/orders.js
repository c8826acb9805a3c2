// Orders: buttons that say what they do, ask once more where it holds traffic up, and tell what a refusal said.

import { h } from "/page/element.js";
import { Refused } from "/page/connection.js";

const SURE = 4000; // milliseconds within which the second press has to come
const SHOWN = 8000; // milliseconds that the answer to an accepted order stays

const PROXY = "";

export class Orders {
  constructor(connection, changed) {
    this.connection = connection;
    this.changed = changed;
    this.armed = null;
    this.busy = new Set();
    this.answers = new Map();
  }

  // A button. `ask` makes it want a second press; its text is what the first press asks.
  button(text, path, { pool = PROXY, ask = null, label = null, kind = null } = {}) {
    const armed = this.armed === path;
    return h("button", {
      type: "button",
      "data-key": path,
      "data-path": path,
      "data-pool": pool,
      "data-ask": ask,
      "aria-label": armed ? null : label,
      class: armed ? "armed" : kind,
      // Not disabled: that would take the focus away from whoever pressed it.
      "aria-disabled": this.busy.has(path) || this.connection.state !== "live" ? "true" : null,
    }, armed ? ask : text);
  }

  press(button) {
    const { path, pool, ask } = button.dataset;
    if (button.getAttribute("aria-disabled") === "true") return;
    if (path === undefined) {
      this.dismiss(button.dataset.dismiss);
    } else if (ask && this.armed !== path) {
      this.arm(path);
    } else {
      this.give(path, pool);
    }
  }

  arm(path) {
    this.armed = path;
    clearTimeout(this.alarm);
    this.alarm = setTimeout(() => this.disarm(), SURE);
    this.changed();
  }

  disarm() {
    this.armed = null;
    this.changed();
  }

  async give(path, pool) {
    this.armed = null;
    this.busy.add(path);
    this.changed();
    let answer;
    try {
      answer = { text: told(path, await this.connection.post(path)) };
      setTimeout(() => this.answers.get(pool) === answer && this.dismiss(pool), SHOWN);
    } catch (error) {
      answer = error instanceof Refused
        ? { code: error.code, text: error.message, state: error.state }
        : { code: "no answer", text: "It is not known whether the proxy did it; look at its state below." };
    }
    this.busy.delete(path);
    this.answers.set(pool, answer);
    this.changed();
  }

  dismiss(pool) {
    this.answers.delete(pool);
    this.changed();
  }

  // What became of the last order about a pool, or about the proxy.
  answer(pool = PROXY) {
    const answer = this.answers.get(pool);
    if (!answer) return h("div", { class: "answer", "data-key": "answer", role: "status" });
    return h("div", { class: answer.code ? "answer refused" : "answer", "data-key": "answer", role: "status" },
      h("p", {}, answer.code && ["Refused, ", h("code", {}, answer.code), ": "], answer.text),
      answer.code && problems(answer.state),
      h("button", { type: "button", "data-dismiss": pool, "aria-label": "Dismiss this answer" }, "×"));
  }
}

function problem({ file, line, path, value, allowed }) {
  const where = [file, line].filter(Boolean).map((part) => `${part}:`).join("");
  const [what, ...wayOut] = String(allowed).split("; ");
  return [`${where} ${path} must be ${what}, is ${value ?? "missing"}`.trim(), ...wayOut].join("; ");
}

function problems(state) {
  const found = (state.problems ?? []).map(problem);
  for (const [pool, refusal] of Object.entries(state.refusals ?? {})) {
    found.push(`${pool}: ${refusal.code}: ${refusal.detail}`);
  }
  return found.length > 0 && h("ul", {}, found.map((text) => h("li", {}, text)));
}

function told(path, answer) {
  if (answer.rollouts) {
    const started = answer.rollouts.map(({ id, pool }) => `${id} of ${pool}`).join(", ");
    const refused = Object.entries(answer.refusals).map(([pool, { code }]) => `${pool} was refused: ${code}`);
    return [started && `Accepted: rollout ${started}.`, ...answer.changes, ...refused].filter(Boolean).join(" ");
  }
  if (answer.outcome) return `Accepted: rollout ${answer.id}.`;
  if ("rollout" in answer) return answer.rollout ? `Rollout ${answer.rollout} ends as soon as no slot is half-way.` : "No rollout is in progress.";
  if (answer.changed === false) return "It was so already.";
  if (answer.refilled) {
    const refilled = answer.refilled.length > 0 && `Slot ${answer.refilled.join(", ")} is started again from the release it had.`;
    const down = answer.serving.length === 0 && "Nothing serves in it; a reload starts it from the new release.";
    return ["Unlocked.", refilled, down].filter(Boolean).join(" ");
  }
  return { drain: "Draining.", readmit: "Readmitted.", pause: "Requests are held.", resume: "Requests go on." }[path.split("/").pop()] ?? "Done.";
}
