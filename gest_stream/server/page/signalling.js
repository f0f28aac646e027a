/** What the page says to the server over HTTP: offers, candidates, the background picture, the end (RFC 9725). */

const TIMEOUT_MS = 12_000;

/** The server answered, and not with what was asked for. */
export class HttpProblem extends Error {
  constructor(status, title, detail, retryAfterS = null) {
    super(detail || title || `HTTP ${status}`);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** The server did not answer. */
export class Unreachable extends Error {}

export class Signalling {
  #access;

  constructor(access) {
    this.#access = access;
  }

  /** The server's settings for pages. */
  async config(signal) {
    const answer = await this.#ask("GET", here("config.json"), { signal });
    return answer.json();
  }

  /**
   * Send an offer.
   * @param {string} path "loop" or "whep/NAME"
   * @returns {Promise<{answer: string, url: URL, etag: string|null}>}
   */
  async offer(path, sdp, signal) {
    const headers = { "Content-Type": "application/sdp" };
    const answer = await this.#ask("POST", here(path), { headers, body: sdp, signal });
    const location = answer.headers.get("Location");
    const url = location && new URL(location, answer.url || here(path));
    // the token goes along with every request about the session: never to another server
    if (!url || url.origin !== here("").origin) throw new HttpProblem(502, "", "the server named no session of its own");
    return { answer: await answer.text(), url, etag: answer.headers.get("ETag") };
  }

  /** Send candidates that were found after the offer. */
  async trickle(url, etag, fragment) {
    const headers = { "Content-Type": "application/trickle-ice-sdpfrag" };
    if (etag) headers["If-Match"] = etag;
    await this.#ask("PATCH", url, { headers, body: fragment });
  }

  /** Upload the picture that the effect `replace` puts behind the hands. */
  async background(url, picture) {
    const target = new URL(url);
    target.pathname = `${url.pathname.replace(/\/$/, "")}/background`;
    await this.#ask("PUT", target, { headers: { "Content-Type": picture.type }, body: picture });
  }

  /** End a session; also while the page goes away. */
  end(url) {
    return this.#ask("DELETE", url, { keepalive: true }).catch(() => null);
  }

  async #ask(method, url, { headers = {}, body, keepalive = false, signal } = {}) {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
    const stop = () => timeout.abort();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    const token = this.#access.token;
    const request = {
      method,
      headers: token ? { ...headers, Authorization: `Bearer ${token}` } : headers,
      body,
      keepalive,
      signal: timeout.signal,
      cache: "no-store",
      credentials: "same-origin",
    };
    try {
      const answer = await fetch(url, request);
      if (!answer.ok) throw await problemOf(answer);
      return answer;
    } catch (problem) {
      if (problem instanceof HttpProblem || signal?.aborted) throw problem;
      throw new Unreachable(timeout.signal.aborted ? "it did not answer in time" : "it cannot be reached");
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }
}

/**
 * Candidates as a fragment of SDP (RFC 8840, section 9).
 * @param {string} sdp the offer, where user and password of ICE are taken from
 * @param {RTCIceCandidate[]} candidates
 * @param {boolean} complete there will be no more
 */
export function fragmentOf(sdp, candidates, complete) {
  const line = (start) => sdp.split(/\r?\n/).find((one) => one.startsWith(start));
  const lines = [line("a=ice-ufrag:"), line("a=ice-pwd:")];
  const mids = [...new Set(candidates.map((one) => one.sdpMid))];
  if (!mids.length) mids.push((line("a=mid:") ?? "a=mid:0").slice(6));
  for (const mid of mids) {
    lines.push("m=video 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${mid}`);
    for (const one of candidates) if (one.sdpMid === mid) lines.push(`a=${one.candidate}`);
    if (complete) lines.push("a=end-of-candidates");
  }
  return `${lines.filter(Boolean).join("\r\n")}\r\n`;
}

function here(path) {
  return new URL(path, document.baseURI);
}

async function problemOf(answer) {
  const told = await answer.json().catch(() => ({}));
  return new HttpProblem(answer.status, told?.title, told?.detail, secondsUntil(answer.headers.get("Retry-After")));
}

/** Seconds that Retry-After (RFC 9110, section 10.2.3) asks to wait: a number or a date. */
function secondsUntil(text) {
  if (text === null || text.trim() === "") return null;
  const seconds = Number.isNaN(Number(text)) ? (Date.parse(text) - Date.now()) / 1000 : Number(text);
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 600) : null;
}
