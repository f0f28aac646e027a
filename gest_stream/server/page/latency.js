/** Glass-to-glass delay: from the moment the camera took a frame to the moment its returned picture is shown. */

const HELD = 120; // results and frames that wait for each other, about four seconds

export class GlassToGlass {
  #windowMs;
  #captured = new Map(); // rtp timestamp -> capture time, Unix ms on this machine's clock
  #shown = new Map(); // rtp timestamp -> display time, the same
  #samples = []; // {at, ms}
  #frames = 0;
  #results = 0;
  #named = false; // whether any frame told its rtp timestamp
  #dated = false; // whether any result told when its frame was taken

  /**
   * @param {boolean} viewing no results will come
   * @param {number} windowMs how far back the figures look
   */
  constructor(viewing = false, windowMs = 5_000) {
    this.viewing = viewing;
    this.#windowMs = windowMs;
  }

  /** A result came: it names its picture by rtp_timestamp. */
  takeResult({ rtp_timestamp: rtp, capture_time_ms: captured }) {
    this.#results++;
    if (typeof rtp !== "number" || typeof captured !== "number") return;
    this.#dated = true;
    hold(this.#captured, rtp, captured);
    this.#match(rtp);
  }

  /** A returned picture is about to be shown (requestVideoFrameCallback). */
  takeFrame({ rtpTimestamp: rtp, expectedDisplayTime }) {
    this.#frames++;
    if (typeof rtp !== "number") return;
    this.#named = true;
    // both clocks are this browser's: capture times come back from the sender reports that it sent
    hold(this.#shown, rtp, performance.timeOrigin + expectedDisplayTime);
    this.#match(rtp);
  }

  /**
   * @param {number} now performance.now()
   * @returns {{p50: number, p95: number, count: number} | {reason: string}} milliseconds
   */
  report(now) {
    if (this.viewing) return { reason: "only who sends the picture gets results, and with them its delay" };
    this.#samples = this.#samples.filter(({ at }) => now - at <= this.#windowMs);
    if (this.#samples.length >= 5) {
      const sorted = this.#samples.map(({ ms }) => ms).sort((a, b) => a - b);
      return { p50: percentile(sorted, 0.5), p95: percentile(sorted, 0.95), count: sorted.length };
    }
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
      return { reason: "this browser does not tell when it shows a frame" };
    }
    if (this.#frames > 10 && !this.#named) return { reason: "this browser does not name frames (no rtpTimestamp)" };
    if (this.#frames > 10 && !this.#results) return { reason: "no results come in" };
    if (this.#results > 60 && !this.#dated) return { reason: "the server does not know when frames were taken" };
    return { reason: "waiting for measurements" };
  }

  #match(rtp) {
    const captured = this.#captured.get(rtp);
    const shown = this.#shown.get(rtp);
    if (captured === undefined || shown === undefined) return;
    this.#captured.delete(rtp);
    this.#shown.delete(rtp);
    this.#samples.push({ at: performance.now(), ms: shown - captured });
  }
}

/** Frames a second over the last moments. */
export class Rate {
  #times = [];
  #windowMs;

  constructor(windowMs = 2_000) {
    this.#windowMs = windowMs;
  }

  tick(now) {
    this.#times.push(now);
    this.#trim(now);
  }

  /** Per second; null before there are two. */
  value(now) {
    this.#trim(now);
    if (this.#times.length < 2) return null;
    return ((this.#times.length - 1) * 1000) / (this.#times.at(-1) - this.#times[0] || 1);
  }

  #trim(now) {
    while (this.#times.length && now - this.#times[0] > this.#windowMs) this.#times.shift();
  }
}

/** @param {number[]} sorted ascending, not empty */
export function percentile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

function hold(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > HELD) map.delete(map.keys().next().value);
}
