// The last minutes of traffic: samples of each pool and generation on the wall clock, whichever process took them.

export const WINDOW = 120; // seconds that the charts show
const WHOLE = "all";

export class Traffic {
  constructor() {
    this.process = null;
    this.tick = 0;
    this.now = null; // the newest tick on the proxy's clock, milliseconds
    this.pools = new Map();
  }

  // Which ticks are still to be asked for; a new process counts its own.
  path(process) {
    if (process !== this.process) {
      this.process = process;
      this.tick = 0;
    }
    return `/v1/traffic?after=${this.tick}`;
  }

  add(document) {
    const newest = Date.parse(document.at);
    const moment = (tick) => newest - (document.tick - tick) * document.interval * 1000;
    for (const [pool, { samples, generations }] of Object.entries(document.pools)) {
      const known = this.pools.get(pool) ?? new Map();
      this.pools.set(pool, known);
      for (const [key, rows] of [[WHOLE, samples], ...Object.entries(generations)]) {
        const series = known.get(key) ?? [];
        known.set(key, series);
        const last = series.at(-1)?.at ?? -Infinity;
        for (const [tick, requests, errors, p50, p99] of rows) {
          const at = moment(tick);
          if (at > last + 1) series.push({ at, requests, errors, p50, p99 });
        }
      }
      this.forget(known, newest);
    }
    for (const pool of this.pools.keys()) {
      if (!(pool in document.pools)) this.pools.delete(pool);
    }
    this.tick = document.tick;
    this.now = newest;
  }

  forget(known, newest) {
    for (const [key, series] of known) {
      while (series.length && series[0].at < newest - WINDOW * 1000) series.shift();
      if (!series.length && key !== WHOLE) known.delete(key);
    }
  }

  // The series of a pool: itself first, then its generations, the newest first; the proxy's own answers (0) last.
  series(pool) {
    const known = this.pools.get(pool);
    if (!known) return [];
    const generations = [...known.keys()].filter((key) => key !== WHOLE);
    generations.sort((one, other) => Number(other) - Number(one));
    return [WHOLE, ...generations].map((key) => ({ key, samples: known.get(key) ?? [] }));
  }
}

// What the last ten seconds were like; null where nothing was served.
export function recently(samples, now) {
  const recent = samples.filter((sample) => sample.at > now - 10000);
  const requests = recent.reduce((sum, sample) => sum + sample.requests, 0);
  const weighted = recent.reduce((sum, sample) => sum + sample.p50 * sample.requests, 0);
  return {
    rate: requests / 10,
    p50: requests ? weighted / requests : null,
    p99: requests ? Math.max(...recent.map((sample) => sample.p99)) : null,
  };
}
