// The panel beside the view: numbers, what the page may have, and the parts of the application.

import { age } from "./stage.js";

const KEPT = 150; // latencies in the sparkline
const STAGES = [
  ["camera", "camera"], ["crop", "crop"], ["network", "network"], ["mask", "mask"],
  ["dnn", "network in the sensor"], ["dsp", "preparation in the sensor"], ["host", "host"],
  ["filters", "filters"],
];
const PICTURES = {
  "": "not granted",
  pixels: "whole",
  redacted: "blurred outside the mask",
  cutout: "the object alone",
};

export class Panel {
  constructor(document) {
    this.by = (id) => document.getElementById(id);
    this.latencies = [];
    this.counts = { shown: 0, dropped: 0, skipped: 0 };
    this.last = null; // {session, seq, frame} of the result before
    this.rate = { bytes: 0, atMs: performance.now() };
    this.spark = this.by("spark");
  }

  text(id, text) {
    const node = this.by(id);
    if (node.textContent !== text) node.textContent = text;
  }

  /** A result was shown. */
  result(envelope, clockOffsetMs) {
    const message = envelope.message;
    this.count(message);
    this.object(message);
    this.latency(envelope, clockOffsetMs);
  }

  /** No object, since nothing comes. */
  nothing(why) {
    this.text("found", why);
    this.text("score", "–");
    this.text("area", "–");
    this.text("roi-age", "–");
    this.by("score-bar").value = 0;
  }

  object(message) {
    if (message.score === null) {
      this.nothing(message.prompt ? "No mask for this prompt." : "Nothing is prompted.");
      return;
    }
    const [width, height] = message.size_px;
    const share = message.area_px / (width * height);
    this.by("score-bar").value = message.score;
    this.text("score", message.score.toFixed(2));
    this.text("area", percent(share));
    this.text("roi-age", "roi" in message.ages_ms ? age(message.ages_ms.roi) : "timeless");
    const where = message.region ? ` in ${message.region}` : "";
    const settling = message.settling ? ", the sensor is still turning there" : "";
    const numbers = `${percent(share)} of the view, score ${message.score.toFixed(2)}`;
    this.text("found", message.area_px
      ? `Object${where}: ${numbers}${settling}`
      : `No object${where || " there"}${settling}`);
  }

  /** Gaps in seq are lost on the way to this page; those in frame beyond were sent to nobody. */
  count(message) {
    this.counts.shown += 1;
    const before = this.last;
    if (before && before.session === message.session && message.seq > before.seq) {
      const dropped = message.seq - before.seq - 1;
      const frames = message.frame - before.frame - 1;
      this.counts.dropped += dropped;
      this.counts.skipped += Math.max(0, frames - dropped);
    }
    this.last = message;
    this.text("shown", String(this.counts.shown));
    this.text("dropped", String(this.counts.dropped));
    this.text("skipped", String(this.counts.skipped));
  }

  latency(envelope, clockOffsetMs) {
    const message = envelope.message;
    let ms = message.ages_ms.frame ?? 0;
    if (clockOffsetMs !== null) {
      ms = Date.now() + clockOffsetMs - message.timestamp_ns / 1e6;
    }
    this.latencies.push(Math.max(0, ms));
    if (this.latencies.length > KEPT) this.latencies.shift();
    this.timings = { ...envelope.timings_ms };
  }

  /** What need not be shown for each frame; called a few times a second. */
  refresh(bytes) {
    const nowMs = performance.now();
    const seconds = (nowMs - this.rate.atMs) / 1000;
    if (seconds >= 1) {
      this.text("bytes", rate((bytes - this.rate.bytes) / seconds));
      this.rate = { bytes, atMs: nowMs };
    }
    if (!this.latencies.length) return;
    const sorted = [...this.latencies].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    this.text("latency", age(this.latencies[this.latencies.length - 1]));
    this.text("quantiles", `median ${age(at(0.5))}, 95 % ${age(at(0.95))}`);
    this.spark.setAttribute("aria-label", `Latency of the last ${sorted.length} results: ` +
      `median ${age(at(0.5))}, highest ${age(sorted[sorted.length - 1])}`);
    this.drawSpark(sorted[sorted.length - 1]);
    this.stages();
  }

  stages() {
    const rows = STAGES.filter(([key]) => key in this.timings)
      .map(([key, label]) => [label, `${this.timings[key].toFixed(1)} ms`]);
    fill(this.by("stages"), rows, ([label, value]) => pair(label, value));
  }

  drawSpark(highest) {
    const canvas = this.spark;
    const scale = Math.min(devicePixelRatio || 1, 3);
    const { width, height } = canvas.getBoundingClientRect();
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    const top = Math.max(highest * 1.15, 10);
    const x = (index) => (index / (KEPT - 1)) * canvas.width;
    const y = (ms) => canvas.height - (ms / top) * (canvas.height - 3 * scale) - scale;
    const color = getComputedStyle(canvas).color;
    const first = KEPT - this.latencies.length;
    context.beginPath();
    this.latencies.forEach((ms, index) => context.lineTo(x(first + index), y(ms)));
    context.strokeStyle = color;
    context.lineWidth = 1.5 * scale;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(x(KEPT - 1), canvas.height);
    context.lineTo(x(first), canvas.height);
    context.globalAlpha = 0.12;
    context.fillStyle = color;
    context.fill();
    context.globalAlpha = 1;
  }

  state(state) {
    this.text("device", state.device);
    this.text("session", state.session || "–");
    this.policy(state.policy);
    this.text("pages", String(state.pages));
    const told = state.application;
    this.text("fps", told ? `${told.fps.toFixed(1)} frames/s` : "–");
    const rows = told ? told.parts : [];
    this.by("parts-card").hidden = rows.length === 0;
    fill(this.by("parts"), rows, partRow);
  }

  policy(policy) {
    const rows = [
      ["Masks, scores, times", "yes", true],
      ["Picture", policy.picture_wanted ? PICTURES[policy.picture] : "not granted", policy.picture !== ""],
      ["Gaze", policy.gaze ? "yes" : "not granted", policy.gaze],
    ];
    fill(this.by("policy"), rows, ([label, value, granted]) => {
      const row = pair(label, value);
      row.lastChild.className = granted ? "granted" : "withheld";
      return row;
    });
    const limits = [];
    if (policy.max_rate_hz) limits.push(`at most ${policy.max_rate_hz} results a second`);
    if (policy.coarsen) limits.push(`masks as ${policy.coarsen} × ${policy.coarsen} cells`);
    if (policy.min_area) limits.push(`masks under ${percent(policy.min_area)} of the view withheld`);
    if (policy.privacy_masks) limits.push(`${policy.privacy_masks} parts of the view always hidden`);
    if (policy.windows.length) limits.push(`only at ${policy.windows.join(", ")}`);
    if (policy.purpose) limits.push(`purpose: ${policy.purpose}`);
    if (policy.kept) limits.push(`kept: ${policy.kept}`);
    this.text("limits", limits.length ? `${limits.join("; ")}.` : "");
  }
}

function pair(label, value) {
  const row = document.createElement("div");
  const [name, text] = [document.createElement("dt"), document.createElement("dd")];
  name.textContent = label;
  text.textContent = value;
  row.append(name, text);
  return row;
}

function partRow(part) {
  const row = document.createElement("tr");
  const [what, state] = [document.createElement("td"), document.createElement("td")];
  const role = document.createElement("span");
  role.className = "role";
  role.textContent = part.role;
  const named = part.name === part.kind ? part.name : `${part.name} (${part.kind})`;
  what.append(role, ` ${named}`);
  const counts = ["dropped", "errors", "restarts"].filter((key) => part[key])
    .map((key) => `${part[key]} ${key}`);
  state.textContent = [part.state || "in use", ...counts].join(", ");
  if (["lost", "retrying"].includes(part.state)) state.className = "trouble";
  row.append(what, state);
  return row;
}

/** Replaces the children, if they would say something else. */
function fill(node, rows, make) {
  const key = JSON.stringify(rows);
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.replaceChildren(...rows.map(make));
}

function percent(share) {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

function rate(bytesPerS) {
  return bytesPerS < 1000 ? `${Math.round(bytesPerS)} B/s` : `${(bytesPerS / 1000).toFixed(1)} kB/s`;
}
