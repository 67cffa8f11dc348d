// Ties the link, the view, the tools and the panel together.

import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { decodeMask, iou } from "./payload.js";
import { Stage } from "./stage.js";
import { Tools } from "./tools.js";

const REFRESH_MS = 250;
const SILENCE_MS = 1500; // then what is shown is no longer live
const ANSWER_MS = 3000;
const POINTER_MS = 16;

if (location.search || location.hash) history.replaceState(null, "", location.pathname); // a token

const by = (id) => document.getElementById(id);
const stage = new Stage(by("stage"));
const tools = new Tools(stage);
const panel = new Panel(document);
const scheme = location.protocol === "https:" ? "wss" : "ws";
const link = new Link(`${scheme}://${location.host}/ws`);

let state = null;
let queued = null; // the newest result that is not shown yet
let busy = false;
let heardMs = null; // when the last result was shown
let askedMs = null; // when a prompt was sent that has no answer yet
let hadObject = false;
let pointerMs = 0;

/** For tests and for the curious: what the page has shown last, and how to compare masks. */
const picosam = { lastMask: null, lastResult: null, state: null, shown: 0, pictures: 0, iou, link };
window.picosam = picosam;

link.addEventListener("result", ({ detail }) => {
  queued = detail;
  if (!busy) showAll();
});
link.addEventListener("state", ({ detail }) => {
  state = picosam.state = detail;
  panel.state(state);
  note("prompts-note", state.prompts.note);
  by("clear").disabled = !state.prompts.taken;
  hints();
});
link.addEventListener("link", ({ detail }) => {
  const chip = by("link");
  chip.dataset.state = detail.state;
  chip.textContent = detail.state === "connecting" && heardMs === null ? "connecting" : {
    connecting: "connecting",
    connected: "connected",
    lost: `lost, again in ${Math.max(1, Math.round((detail.pauseMs ?? 0) / 1000))} s`,
  }[detail.state];
  if (detail.state === "lost") {
    forget("The connection is lost. The page comes back by itself.");
    heardMs = null;
    askedMs = null;
  } else if (detail.state === "connected") {
    say("Connected.");
    hints();
  }
});
link.addEventListener("reply", ({ detail }) => {
  if (detail.type === "error") {
    askedMs = null;
    note("error", `${detail.text} ${detail.hint ?? ""}`);
    say(detail.text);
  }
});

tools.addEventListener("prompt", ({ detail }) => prompt(detail));
tools.addEventListener("clear", clear);
tools.addEventListener("mode", ({ detail }) => {
  for (const mode of ["box", "point"]) by(`mode-${mode}`).checked = mode === detail;
});
tools.addEventListener("pointer", ({ detail }) => {
  if (!state?.pointer) return;
  const nowMs = performance.now();
  if (detail.at !== null && nowMs - pointerMs < POINTER_MS) return;
  pointerMs = nowMs;
  link.send({ type: "pointer", at: detail.at });
});
for (const mode of ["box", "point"]) {
  by(`mode-${mode}`).addEventListener("change", () => tools.setMode(mode));
}
by("clear").addEventListener("click", clear);
setInterval(refresh, REFRESH_MS);

function prompt(place) {
  note("error", "");
  if (!link.send({ type: "prompt", ...place })) {
    note("error", "Not connected: the prompt was not sent.");
    return;
  }
  askedMs = performance.now();
  stage.asked = place.point ?? null;
  stage.drawMarks();
  say(place.point ? "Point sent." : "Box sent.");
  hints();
}

function clear() {
  note("error", "");
  link.send({ type: "clear" });
  askedMs = null;
  stage.asked = null;
  stage.drawMarks();
  say("Cleared.");
}

/** Shows the newest result, until there is none left. */
async function showAll() {
  busy = true;
  while (queued !== null) {
    const { envelope, jpeg } = queued;
    queued = null;
    try {
      await show(envelope, jpeg);
    } catch (error) {
      note("error", `A result could not be shown: ${error.message}`);
    }
    link.send({ type: "seen", seq: envelope.message.seq });
  }
  busy = false;
}

async function show(envelope, jpeg) {
  const message = envelope.message;
  const [mask, bitmap] = await Promise.all([
    message.mask ? decodeMask(message.mask) : null,
    jpeg ? createImageBitmap(jpeg) : null,
  ]);
  if (!link.connected) return;
  stage.show(message, mask, bitmap);
  panel.result(envelope, link.clockOffsetMs);
  heardMs = performance.now();
  picosam.lastResult = envelope;
  picosam.lastMask = mask && { ...mask, seq: message.seq, frame: message.frame, roi: message.roi };
  picosam.pictures += jpeg ? 1 : 0;
  picosam.shown += 1;
  const hasObject = Boolean(message.area_px);
  if (hasObject && askedMs !== null) askedMs = null;
  if (hasObject !== hadObject) say(hasObject ? by("found").textContent : "No object.");
  hadObject = hasObject;
  hints();
}

/** What is old must not look live. */
function forget(why) {
  stage.clear();
  panel.nothing("Nothing is shown.");
  picosam.lastMask = null;
  if (hadObject) say(why);
  hadObject = false;
  notice(why);
}

function refresh() {
  panel.refresh(link.bytes);
  const nowMs = performance.now();
  const rateHz = state?.policy.max_rate_hz || 0;
  const silenceMs = Math.max(SILENCE_MS, rateHz ? 3000 / rateHz : 0);
  if (link.connected && heardMs !== null && nowMs - heardMs > silenceMs) {
    forget(`No results for ${Math.round((nowMs - heardMs) / 1000)} s.`);
  }
  hints();
}

/** What to do next, over the view. */
function hints() {
  if (!link.connected) return;
  const nowMs = performance.now();
  if (heardMs === null) {
    notice("Waiting for the first result.");
  } else if (stage.shown === null || stage.shown.roi !== null) {
    if (stage.shown !== null) notice("");
  } else if (askedMs !== null && nowMs - askedMs < ANSWER_MS) {
    notice("Looking there.");
  } else if (state && !state.prompts.taken) {
    notice("Nothing is prompted.");
  } else if (askedMs !== null) {
    notice(state?.prompts.followed === false ? "Prompts lead nowhere." : "No object was found there.");
  } else {
    notice("Drag a box around something, or click on it.");
  }
}

function notice(text) {
  note("notice", text);
}

function note(id, text) {
  const node = by(id);
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
}

/** For screen readers: changes, not every frame. */
function say(text) {
  by("said").textContent = text;
}
