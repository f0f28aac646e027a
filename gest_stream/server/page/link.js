/** Keeps a session up: connects, says how it stands, and connects again after a loss with growing pauses. */

import { Session } from "./session.js";
import { HttpProblem, Unreachable } from "./signalling.js";

const FIRST_PAUSE_S = 1;
const LONGEST_PAUSE_S = 20;
const JITTER = 0.25;
const SOUND_AFTER_MS = 10_000; // a session that lived this long starts the pauses anew

/**
 * Event "phase" with a detail of one of
 *   {phase: "connecting", attempt}
 *   {phase: "live"}
 *   {phase: "waiting", seconds, until, cause}    cause: {kind: "full" | "lost" | "ended" | "absent", reason}
 *   {phase: "token"}                             the server wants a token, or another one
 *   {phase: "refused", problem}                  it makes no sense to try again without a change
 *   {phase: "stopped"}
 * Event "session" with the new session, before it connects.
 */
export class Link extends EventTarget {
  #signalling;
  #settings;
  #stop = null;
  #skip = null;
  #pauseS = FIRST_PAUSE_S;
  #again = false;

  /**
   * @param {Signalling} signalling
   * @param {(signal: AbortSignal) => Promise<object>} settings what `Session` is to be opened with, and `path`;
   *   asked before every attempt
   */
  constructor(signalling, settings) {
    super();
    this.#signalling = signalling;
    this.#settings = settings;
    this.session = null;
  }

  get running() {
    return this.#stop !== null;
  }

  /** Connect, and stay connected until `stop`. */
  async start() {
    if (this.running) return;
    const stop = (this.#stop = new AbortController());
    this.#pauseS = FIRST_PAUSE_S;
    for (let attempt = 1; !stop.signal.aborted; attempt++) {
      this.#phase({ phase: "connecting", attempt });
      const pause = await this.#attempt(stop.signal);
      if (stop.signal.aborted) break;
      if (!pause) continue;
      if (pause.phase !== "waiting") {
        this.#stop = null;
        return this.#phase(pause);
      }
      this.#phase({ ...pause, until: performance.now() + pause.seconds * 1000 });
      await this.#wait(pause.seconds * 1000, stop.signal);
    }
  }

  /** End the session and do not come back. */
  stop() {
    if (!this.running) return;
    this.#stop.abort();
    this.#stop = null;
    this.session?.close();
    this.#skip?.();
    this.#phase({ phase: "stopped" });
  }

  /** Do not wait any longer. */
  retryNow() {
    this.#skip?.();
  }

  /** Leave the session and open another at once: a setting changed that an offer holds. */
  renew() {
    if (!this.session) return this.retryNow();
    this.#again = true;
    this.session.close();
  }

  /** One session from offer to end; returns what comes next, null to go on at once. */
  async #attempt(signal) {
    let session = null;
    try {
      const { path, ...wanted } = await this.#settings(signal);
      if (signal.aborted) return null;
      session = this.session = new Session(this.#signalling, wanted);
      return await this.#live(session, path, signal);
    } catch (problem) {
      session?.close();
      return this.#afterProblem(problem);
    } finally {
      if (this.session === session) this.session = null; // by now there may be another
    }
  }

  async #live(session, path, signal) {
    let liveSince = null;
    session.addEventListener("live", () => {
      liveSince ??= performance.now();
      this.#phase({ phase: "live" });
    });
    this.dispatchEvent(new CustomEvent("session", { detail: session }));
    await session.open(path, signal).catch((problem) => {
      if (!session.isOver) throw problem; // what was under way fails when a session is closed
    });
    const { kind, reason } = await session.over;
    if (liveSince !== null && performance.now() - liveSince > SOUND_AFTER_MS) this.#pauseS = FIRST_PAUSE_S;
    return kind === "closed" ? this.#goOn() : this.#later({ kind, reason });
  }

  #goOn() {
    const again = this.#again;
    this.#again = false;
    return again ? null : { phase: "stopped" };
  }

  #afterProblem(problem) {
    if (problem instanceof Unreachable) return this.#later({ kind: "lost", reason: problem.message });
    if (!(problem instanceof HttpProblem)) return { phase: "refused", problem };
    if (problem.status === 401) return { phase: "token" };
    const full = problem.status === 503 || problem.status === 429;
    if (full) return { phase: "waiting", seconds: problem.retryAfterS ?? 5, cause: { kind: "full", reason: problem.message } };
    if (problem.status === 404) return this.#later({ kind: "absent", reason: problem.message }, problem.retryAfterS);
    if (problem.status >= 500) return this.#later({ kind: "lost", reason: problem.message });
    return { phase: "refused", problem };
  }

  #later(cause, seconds = null) {
    const jittered = this.#pauseS * (1 + JITTER * (2 * Math.random() - 1));
    this.#pauseS = Math.min(this.#pauseS * 2, LONGEST_PAUSE_S);
    return { phase: "waiting", seconds: seconds ?? jittered, cause };
  }

  #wait(ms, signal) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#skip = () => {
        clearTimeout(timer);
        resolve();
      };
      if (signal.aborted) this.#skip();
    }).finally(() => (this.#skip = null));
  }

  #phase(detail) {
    this.dispatchEvent(new CustomEvent("phase", { detail }));
  }
}
