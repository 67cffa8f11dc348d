// The connection to the server: results and state come in, prompts go out. It comes back by
// itself, with pauses that grow.

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const PING_MS = 2000;

/**
 * Events (all of them CustomEvents):
 *   result  {envelope, jpeg}   a result, and its picture as a Blob or null
 *   state   the state of things
 *   reply   an answer to what was sent
 *   link    {state: "connecting" | "connected" | "lost", pauseMs}
 */
export class Link extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.pauseMs = FIRST_PAUSE_MS;
    this.bytes = 0;
    this.clockOffsetMs = null; // of the server's clock to ours
    this.socket = null;
    this.timer = null;
    this.held = null; // a result that waits for its picture
    this.bestRttMs = Infinity;
    setInterval(() => this.ping(), PING_MS);
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.connect();
  }

  get connected() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  /** Whether it was sent. */
  send(message) {
    if (!this.connected) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = null;
    this.tell("link", { state: "connecting" });
    const socket = new WebSocket(this.url);
    let opened = false;
    socket.binaryType = "blob";
    socket.onopen = () => {
      opened = true;
      this.pauseMs = FIRST_PAUSE_MS;
      this.bestRttMs = Infinity;
      this.tell("link", { state: "connected" });
      this.ping();
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.held = null;
      this.later(event.code === 1013 ? LONGEST_PAUSE_MS : this.pauseMs);
      if (!opened) this.checkToken();
    };
    this.socket = socket;
  }

  /** Tries again after a pause, which is twice as long the next time. */
  later(pauseMs) {
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    const wait = pauseMs * (0.8 + 0.4 * Math.random()); // so that many pages do not come at once
    this.tell("link", { state: "lost", pauseMs: wait });
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Tries again now, if it waits. */
  hurry() {
    if (this.timer !== null) this.connect();
  }

  /** A refusal looks like a server that is gone; one for want of a token leads to its page. */
  async checkToken() {
    try {
      const answer = await fetch("api/state");
      if (answer.status === 401) location.replace("./");
    } catch {
      // it is gone
    }
  }

  ping() {
    this.send({ type: "ping", t: performance.now() });
  }

  take(data) {
    if (typeof data !== "string") {
      this.bytes += data.size;
      this.takePicture(data);
      return;
    }
    this.bytes += data.length;
    const message = JSON.parse(data);
    if (message.type === "result") {
      if (message.picture) this.held = message;
      else this.tell("result", { envelope: message, jpeg: null });
    } else if (message.type === "state") {
      this.tell("state", message);
    } else if (message.type === "pong") {
      this.takeTime(message);
    } else {
      this.tell("reply", message);
    }
  }

  /** A picture begins with its result's seq. */
  async takePicture(blob) {
    const held = this.held;
    this.held = null;
    const head = new DataView(await blob.slice(0, 8).arrayBuffer());
    if (held !== null && Number(head.getBigUint64(0)) === held.message.seq) {
      this.tell("result", { envelope: held, jpeg: blob.slice(8, blob.size, "image/jpeg") });
    }
  }

  /** The quickest answer tells best how the clocks differ; if they can be one, they are. */
  takeTime(message) {
    const rttMs = performance.now() - message.t;
    if (rttMs > this.bestRttMs * 1.5) return;
    this.bestRttMs = Math.min(this.bestRttMs, rttMs);
    const offsetMs = message.unix_ms + rttMs / 2 - Date.now();
    this.clockOffsetMs = Math.abs(offsetMs) <= rttMs / 2 + 1 ? 0 : offsetMs;
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
