// The values of a chart under the pointer: a mark at that second, and beside it what was measured then.

import { QUANTITIES } from "/page/chart.js";
import { clock } from "/page/words.js";
import { WINDOW } from "/page/traffic.js";

const REACH = 1500; // milliseconds that a sample may be away from the pointer

export class Pointer {
  // `label` is the element that holds the words.
  constructor(label, traffic) {
    this.label = label;
    this.traffic = traffic;
    document.addEventListener("pointermove", (event) => this.follow(event));
    document.addEventListener("pointerdown", (event) => this.follow(event));
    document.addEventListener("pointerleave", () => this.hide());
  }

  follow({ target, clientX, clientY }) {
    const chart = target.closest?.("svg.chart");
    if (!chart || this.traffic.now === null) return this.hide();
    const box = chart.getBoundingClientRect();
    const moment = this.traffic.now - (1 - (clientX - box.left) / box.width) * WINDOW * 1000;
    const found = this.sample(chart, moment);
    const quantity = QUANTITIES[chart.dataset.quantity];
    const value = found ? quantity.text(quantity.of(found)) : quantity.logarithmic ? "–" : "0";
    this.label.textContent = `${clock(found?.at ?? moment)}: ${value} ${quantity.unit}`;
    this.label.hidden = false;
    const room = document.documentElement.clientWidth - this.label.offsetWidth - 8;
    this.label.style.left = `${Math.max(8, Math.min(clientX + 12, room))}px`;
    this.label.style.top = `${Math.max(8, clientY - this.label.offsetHeight - 10)}px`;
  }

  // What was measured in the second under the pointer; null where nothing was served.
  sample(chart, moment) {
    const pool = chart.closest("[data-pool-name]").dataset.poolName;
    const series = this.traffic.series(pool).find(({ key }) => key === chart.closest("tr").dataset.key);
    let best = null;
    for (const sample of series?.samples ?? []) {
      const away = Math.abs(sample.at - moment);
      if (away < REACH / 2 && (!best || away < Math.abs(best.at - moment))) best = sample;
    }
    return best;
  }

  hide() {
    this.label.hidden = true;
  }
}
