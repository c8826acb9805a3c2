// The connection to the proxy: calls, the stream of events, and the truth about whether either works.
//
// The stream is read with fetch, because EventSource cannot send the token. It comes back by itself, from the last
// event seen, also to the process that took over; the heartbeat tells a silent proxy from a dead one.

const SILENCE = 25000; // milliseconds; the heartbeat comes every 15 s
const PATIENCE = 5000; // for an answer
const PAUSES = [250, 500, 1000, 2000, 4000];

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `status ${status}`);
    this.status = status;
    this.code = problem.code ?? `status ${status}`;
    this.state = problem.state ?? {};
  }
}

export class Connection {
  // `changed` is called when the state of the connection is another, `event` with each event, `wants` when the token
  // is missing or wrong and has to be given to `use`.
  constructor({ changed, event, wants }) {
    this.state = "connecting";
    this.heard = null; // when the proxy last said anything, milliseconds
    this.lastId = null;
    this.failures = 0;
    this.told = { changed, event, wants };
    this.token = sessionStorage.getItem("hotswap-token");
    this.wake = null;
  }

  use(token) {
    this.token = token;
    sessionStorage.setItem("hotswap-token", token);
    this.again();
  }

  // Try at once instead of waiting on.
  again() {
    this.failures = 0;
    this.wake?.();
  }

  get(path) {
    return this.call(path, { method: "GET", signal: AbortSignal.timeout(PATIENCE) });
  }

  // An order may read files and run a command before it is answered.
  post(path) {
    return this.call(path, { method: "POST", signal: AbortSignal.timeout(120000) });
  }

  async call(path, options) {
    const response = await this.open(path, options);
    const document = await response.json();
    if (!response.ok) throw new Refused(response.status, document);
    return document;
  }

  async open(path, options) {
    const token = this.token;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...headers, ...options.headers }, cache: "no-store" });
    } catch (error) {
      if (options.method === "GET") this.lose();
      throw error;
    }
    if (response.status === 401) {
      // A late answer to a call with another token says nothing of the one that was given since.
      if (token === this.token) this.told.wants();
      throw new Refused(401, await response.json());
    }
    this.heard = Date.now();
    return response;
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.told.changed(state);
  }

  lose() {
    this.become(this.heard === null ? "connecting" : "lost");
  }

  // Listen for ever.
  async listen() {
    for (;;) {
      try {
        await this.read();
      } catch {
        // Why does not matter: it is tried again, and the page says that it is.
      }
      this.lose();
      const pause = PAUSES[Math.min(this.failures++, PAUSES.length - 1)];
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, pause);
      });
    }
  }

  async read() {
    const abort = new AbortController();
    let watch = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const after = this.lastId === null ? "?after=0" : "";
      const headers = this.lastId === null ? {} : { "Last-Event-ID": String(this.lastId) };
      const response = await this.open(`/v1/events${after}`, { method: "GET", headers, signal: abort.signal });
      if (!response.ok) throw new Refused(response.status, {});
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(watch);
        watch = setTimeout(() => abort.abort(), SILENCE);
        this.heard = Date.now();
        this.failures = 0;
        this.become("live");
        const messages = (rest + value).split("\n\n");
        rest = messages.pop();
        for (const message of messages) this.take(message);
      }
    } finally {
      clearTimeout(watch);
    }
  }

  take(message) {
    for (const line of message.split("\n")) {
      if (!line.startsWith("data: ")) continue;
      const event = JSON.parse(line.slice(6));
      if (event.id !== undefined) this.lastId = event.id;
      this.told.event(event);
    }
  }
}
