/** The two data channels: results from the server, commands to it and their answers. */

const VERSION = 1;
const ANSWER_MS = 5_000;

/** The server did not do what a command asked for. */
export class Refused extends Error {}

/**
 * Events: "result" and "hello" (detail: the message), "refused" (detail: the error of no command in particular),
 * "ended" (detail: the reason), "gone" once the server closed them.
 */
export class Channels extends EventTarget {
  #commands;
  #waiting = new Map();
  #nextId = 1;

  /** Opens both on a connection that has made no offer yet. */
  constructor(pc) {
    super();
    const results = pc.createDataChannel("results", { ordered: false, maxRetransmits: 0 });
    this.#commands = pc.createDataChannel("commands");
    results.onmessage = ({ data }) => {
      const message = parsed(data);
      if (message?.type === "result") this.#emit("result", message);
    };
    this.#commands.onmessage = ({ data }) => this.#take(parsed(data));
    this.#commands.onclose = () => {
      this.#forget("the connection is gone");
      this.#emit("gone");
    };
  }

  /**
   * Ask the server for something.
   * @returns {Promise<object>} its answer; rejects with `Refused` where it says no, or nothing
   */
  send(type, fields = {}) {
    if (this.#commands.readyState !== "open") return Promise.reject(new Refused("there is no connection yet"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, (one) => one.reject(new Refused("no answer came"))), ANSWER_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#commands.send(JSON.stringify({ v: VERSION, id, type, ...fields }));
    });
  }

  #take(message) {
    if (!message) return;
    if (message.type === "ok") this.#settle(message.id, (one) => one.resolve(message));
    else if (message.type === "error") {
      const refusal = new Refused(message.message);
      if (!this.#settle(message.id, (one) => one.reject(refusal))) this.#emit("refused", refusal);
    } else if (message.type === "hello") this.#emit("hello", message);
    else if (message.type === "ended") this.#emit("ended", message.reason);
  }

  #settle(id, how) {
    const one = this.#waiting.get(id);
    if (!one) return false;
    this.#waiting.delete(id);
    clearTimeout(one.timer);
    how(one);
    return true;
  }

  #forget(why) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, (one) => one.reject(new Refused(why)));
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function parsed(data) {
  try {
    const message = JSON.parse(data);
    return message?.v === VERSION ? message : null;
  } catch {
    return null;
  }
}
