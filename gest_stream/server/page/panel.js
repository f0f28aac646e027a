/** The live panel: delay, frames a second, drops, hands and the time of each stage. */

import { GlassToGlass, Rate } from "./latency.js";

const UPDATE_MS = 500;
const SMOOTH = 0.1; // weight of the newest result in a stage's time
const FRAME_MS = 1000 / 30; // a full bar
const STAGES = ["queue", "encode", "landmarks", "redetect", "segment", "track"];

export class Panel {
  #glass = new GlassToGlass();
  #returned = new Rate();
  #stages = new Map();
  #result = null;
  #session = null;
  #sent = null; // {at, frames} of the last look
  #rows = new Map();
  #at = (id) => document.getElementById(id);

  /** @param {HTMLVideoElement} video whose frames are counted */
  constructor(video) {
    this.#watch(video);
    setInterval(() => this.#show(), UPDATE_MS);
  }

  /** Start anew with another session, or none. */
  follow(session) {
    this.#session = session;
    this.#glass = new GlassToGlass(session?.channels === null);
    this.#returned = new Rate();
    this.#stages.clear();
    this.#result = this.#sent = null;
    session?.addEventListener("result", ({ detail }) => this.#take(detail));
  }

  #watch(video) {
    if (!video.requestVideoFrameCallback) return;
    const next = (now, metadata) => {
      this.#glass.takeFrame(metadata);
      this.#returned.tick(now);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  #take(result) {
    this.#result = result;
    this.#glass.takeResult(result);
    for (const [stage, ms] of Object.entries(result.timings_ms ?? {})) {
      const before = this.#stages.get(stage) ?? ms;
      this.#stages.set(stage, before + (ms - before) * SMOOTH);
    }
  }

  async #show() {
    if (document.hidden) return;
    const now = performance.now();
    this.#showGlass(now);
    this.#put("fps-returned", this.#returned.value(now), (fps) => `${fps.toFixed(1)} fps`);
    this.#put("drops-server", this.#result?.dropped, String);
    this.#put("hands", this.#result?.tracks, handsText);
    this.#showStages();
    await this.#showStats(now);
  }

  #showGlass(now) {
    const report = this.#session ? this.#glass.report(now) : { reason: "" };
    const text = (ms) => `${Math.round(ms)} ms`;
    this.#put("glass-p50", report.p50, text);
    this.#put("glass-p95", report.p95, text);
    this.#at("glass-reason").textContent = report.reason ? `n/a: ${report.reason}` : "";
  }

  #put(id, value, text) {
    this.#at(id).textContent = value === null || value === undefined ? "n/a" : text(value);
  }

  #showStages() {
    const list = this.#at("stages");
    const known = (name) => (STAGES.includes(name) ? STAGES.indexOf(name) : STAGES.length);
    const names = [...this.#stages.keys()].sort((a, b) => (a === "total") - (b === "total") || known(a) - known(b));
    if (names.join() !== [...this.#rows.keys()].join()) {
      this.#rows = new Map(names.map((name) => [name, stageRow(name)]));
      list.replaceChildren(...[...this.#rows.values()].map(({ row }) => row));
    }
    const full = Math.max(FRAME_MS, ...this.#stages.values());
    for (const [name, { bar, value }] of this.#rows) {
      const ms = this.#stages.get(name);
      bar.style.setProperty("--share", (ms / full).toFixed(3));
      value.textContent = `${ms.toFixed(1)} ms`;
    }
  }

  async #showStats(now) {
    const session = this.#session;
    const report = session && !session.isOver ? await session.stats() : new Map();
    if (session !== this.#session) return;
    const facts = factsOf(report);
    if (facts.framesSent !== undefined && this.#sent && facts.framesSent >= this.#sent.frames) {
      const fps = ((facts.framesSent - this.#sent.frames) * 1000) / (now - this.#sent.at);
      this.#put("fps-sent", fps, (value) => `${value.toFixed(1)} fps`);
    } else this.#put("fps-sent", null);
    if (facts.framesSent === undefined) this.#sent = null;
    else if (!this.#sent || now - this.#sent.at > 1_900) this.#sent = { at: now, frames: facts.framesSent };
    this.#put("drops-browser", facts.framesDropped, String);
    this.#at("link-facts").textContent = facts.text;
    this.#at("sent-caption").textContent = facts.sentSize;
    this.#at("returned-caption").textContent = facts.returnedSize;
  }
}

function stageRow(name) {
  const row = document.createElement("div");
  const [label, track, value] = [document.createElement("dt"), document.createElement("dd"), document.createElement("dd")];
  const bar = document.createElement("i");
  label.textContent = name;
  track.className = "bar";
  track.ariaHidden = "true";
  track.append(bar);
  row.append(label, track, value);
  return { row, bar, value };
}

function handsText(tracks) {
  if (!tracks.length) return "none";
  return tracks.map(({ id, handedness, state }) => `${id}: ${handedness}, ${state}`).join("; ");
}

/** What the browser's own statistics tell. */
function factsOf(report) {
  const all = [...report.values()];
  const sent = all.find(({ type, kind }) => type === "outbound-rtp" && kind === "video");
  const returned = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  const pair = all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const codec = (one) => report.get?.(one?.codecId)?.mimeType?.replace("video/", "");
  const size = (one) => (one?.frameWidth ? `${one.frameWidth} × ${one.frameHeight}` : "");
  const parts = [];
  if (codec(sent)) parts.push(`sent as ${codec(sent)}`);
  if (codec(returned)) parts.push(`returned as ${codec(returned)}`);
  if (pair?.currentRoundTripTime !== undefined) parts.push(`round trip ${Math.round(pair.currentRoundTripTime * 1000)} ms`);
  if (returned?.packetsLost) parts.push(`${returned.packetsLost} packets lost`);
  return {
    framesSent: sent?.framesSent,
    framesDropped: returned?.framesDropped,
    sentSize: size(sent),
    returnedSize: size(returned),
    text: parts.length ? sentenceOf(parts) : "",
  };
}

function sentenceOf(parts) {
  const text = parts.join(", ");
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
