/** One WebRTC connection to the server, from its offer to its end. */

import { Channels } from "./channels.js";
import { fragmentOf } from "./signalling.js";

const GATHER_MS = 500; // later candidates are trickled
const CONNECT_MS = 15_000;
const DISCONNECTED_MS = 3_000;
const SILENT_MS = 5_000;
const LOADING_MS = 60_000; // the same before the first picture: a server may have to load its models
const WATCH_MS = 500;
const WANTED = ["video/H264", "video/VP8"];

/**
 * Events: "result", "hello", "refused" (from the channels), "picture" (detail: MediaStream), "live" once connected.
 * `over` resolves with {kind: "lost" | "ended" | "closed", reason} when it is over, whatever the cause.
 */
export class Session extends EventTarget {
  #signalling;
  #pc;
  #url = null;
  #etag = null;
  #offer = "";
  #candidates = [];
  #gathered = false;
  #settle;
  #ended = null;
  #watch = 0;
  #connectTimer = 0;
  #silent = { since: performance.now(), decoded: 0 };
  #heard = false;
  #disconnectedSince = null;

  /**
   * @param {Signalling} signalling
   * @param {{track: MediaStreamTrack|null, codec: string, iceServers: RTCIceServer[]}} wanted no track: watch only
   */
  constructor(signalling, { track, codec, iceServers }) {
    super();
    this.#signalling = signalling;
    this.over = new Promise((resolve) => (this.#settle = resolve));
    this.paused = false;
    const pc = (this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" }));
    this.transceiver = pc.addTransceiver(track ?? "video", { direction: track ? "sendrecv" : "recvonly" });
    preferCodec(this.transceiver, codec);
    keepShort(this.transceiver.receiver);
    this.channels = track ? this.#openChannels(pc) : null;
    pc.ontrack = ({ track: returned }) => this.#emit("picture", new MediaStream([returned]));
    pc.onicecandidate = ({ candidate }) => this.#take(candidate);
    pc.onconnectionstatechange = () => this.#connectionChanged();
    pc.oniceconnectionstatechange = () => {
      this.#disconnectedSince = pc.iceConnectionState === "disconnected" ? performance.now() : null;
    };
  }

  /** Offer, take the answer, and watch from then on. Rejects with what the server said. */
  async open(path, signal) {
    const pc = this.#pc;
    await pc.setLocalDescription();
    await gatheredOr(pc, GATHER_MS);
    if (this.#ended) return;
    this.#offer = pc.localDescription.sdp;
    this.#candidates = [];
    const complete = (this.#gathered = pc.iceGatheringState === "complete");
    const { answer, url, etag } = await this.#signalling.offer(path, this.#offer, signal);
    [this.#url, this.#etag] = [url, etag];
    if (this.#ended) return void this.#signalling.end(url);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    if (!complete) this.#trickle();
    this.#silent.since = performance.now();
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    this.#connectTimer = setTimeout(() => {
      if (pc.connectionState !== "connected") this.#finish("lost", "no connection came about; does a firewall block UDP?");
    }, CONNECT_MS);
  }

  /** Whether it is over. */
  get isOver() {
    return this.#ended !== null;
  }

  /** End it here and on the server. */
  close() {
    this.#finish("closed", "");
  }

  /** Replace what is sent, without a new offer. */
  async send(track) {
    await this.transceiver.sender.replaceTrack(track);
  }

  /** Upload the background picture. */
  async setBackground(picture) {
    await this.#signalling.background(this.#url, picture);
  }

  /** @returns {Promise<RTCStatsReport>} */
  stats() {
    return this.#pc.getStats();
  }

  #openChannels(pc) {
    const channels = new Channels(pc);
    channels.addEventListener("result", ({ detail }) => {
      this.#silent.since = performance.now();
      this.#heard = true;
      this.#emit("result", detail);
    });
    channels.addEventListener("hello", ({ detail }) => this.#emit("hello", detail));
    channels.addEventListener("refused", ({ detail }) => this.#emit("refused", detail));
    channels.addEventListener("ended", ({ detail }) => this.#finish("ended", detail));
    channels.addEventListener("gone", () => this.#finish("lost", "the server closed the connection"));
    return channels;
  }

  #connectionChanged() {
    const state = this.#pc.connectionState;
    if (state === "connected") this.#emit("live");
    else if (state === "failed") this.#finish("lost", "the connection failed");
    else if (state === "closed") this.#finish("lost", "the server closed the connection");
  }

  /** Twice a second: is anything still coming? */
  async #look() {
    const now = performance.now();
    if (this.#disconnectedSince !== null && now - this.#disconnectedSince > DISCONNECTED_MS) {
      return this.#finish("lost", "the network went away");
    }
    const decoded = await framesDecoded(this.transceiver.receiver);
    if (decoded !== this.#silent.decoded || this.paused || this.#pc.connectionState !== "connected") {
      this.#silent = { since: now, decoded };
    } else if (now - this.#silent.since > (decoded || this.#heard ? SILENT_MS : LOADING_MS)) {
      this.#finish("lost", "nothing came from the server any more");
    }
  }

  #take(candidate) {
    if (candidate?.candidate) this.#candidates.push(candidate);
    else if (candidate === null) this.#gathered = true;
    if (this.#url) this.#trickle();
  }

  #trickle() {
    const found = this.#candidates.splice(0);
    if (!found.length && !this.#gathered) return;
    const fragment = fragmentOf(this.#offer, found, this.#gathered);
    // without these candidates the others may still connect, so a refusal is no end
    this.#signalling.trickle(this.#url, this.#etag, fragment).catch((problem) => console.warn("trickle:", problem));
  }

  #finish(kind, reason) {
    if (this.#ended) return;
    this.#ended = kind;
    clearInterval(this.#watch);
    clearTimeout(this.#connectTimer);
    this.#pc.close();
    if (this.#url && kind !== "ended") this.#signalling.end(this.#url);
    this.#settle({ kind, reason });
  }

  #emit(name, detail) {
    if (!this.#ended) this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** The wanted codec first; what the server cannot take is left out, as it makes offers long. */
function preferCodec(transceiver, codec) {
  const all = RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? [];
  const first = codec === "VP8" ? WANTED.toReversed() : WANTED;
  const rank = ({ mimeType, sdpFmtpLine = "" }) => {
    const place = first.indexOf(mimeType);
    const baseline = /packetization-mode=1/.test(sdpFmtpLine) && /profile-level-id=42e0/i.test(sdpFmtpLine);
    return place < 0 ? 9 : place * 2 + (mimeType === "video/H264" && !baseline ? 1 : 0);
  };
  const usable = all.filter((one) => rank(one) < 9 || one.mimeType === "video/rtx");
  if (!usable.some((one) => rank(one) < 9)) return;
  usable.sort((a, b) => rank(a) - rank(b));
  try {
    transceiver.setCodecPreferences?.(usable);
  } catch (problem) {
    console.warn("codec preference:", problem);
  }
}

/** Ask the browser not to hold pictures back. */
function keepShort(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}

function gatheredOr(pc, limitMs) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, limitMs);
    const check = () => {
      if (pc.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    pc.addEventListener("icegatheringstatechange", check);
    check();
  });
}

async function framesDecoded(receiver) {
  for (const one of (await receiver.getStats()).values()) if (one.type === "inbound-rtp") return one.framesDecoded ?? 0;
  return 0;
}
