/** The notice above the pictures: what is wrong, what helps, and one button that does it. */

export class Notice {
  #at = (id) => document.getElementById(id);
  #action = null;
  #timer = 0;

  constructor() {
    this.#at("notice-close").addEventListener("click", () => this.hide());
    this.#at("notice-action").addEventListener("click", () => this.#action?.());
  }

  /**
   * @param {{title: string, text: string}} words
   * @param {{label?: string, action?: () => void, until?: number, token?: boolean}} more a button; the moment
   *   (performance.now()) that is counted down to; whether a token is asked for
   */
  show({ title, text }, { label = "", action = null, until = 0, token = false } = {}) {
    clearInterval(this.#timer);
    // set before it is shown, so that it is read out once
    this.#at("notice-title").textContent = title;
    this.#at("notice-text").textContent = text;
    this.#action = action;
    this.#at("notice-action").textContent = label;
    this.#at("notice-action").hidden = !action;
    this.#at("token-form").hidden = !token;
    this.#at("notice-close").hidden = token; // nothing else can be done without one
    this.#at("notice-wait").hidden = !until;
    this.#at("notice").hidden = false;
    if (until) this.#count(until);
    if (token) this.#at("token").focus();
  }

  /** Leave the words, but nothing to wait for or to press: it is being tried. */
  calm() {
    clearInterval(this.#timer);
    this.#at("notice-wait").hidden = this.#at("notice-action").hidden = true;
  }

  hide() {
    clearInterval(this.#timer);
    this.#at("notice").hidden = true;
  }

  #count(until) {
    const tell = () => {
      this.#at("notice-seconds").textContent = String(Math.max(0, Math.ceil((until - performance.now()) / 1000)));
    };
    tell();
    this.#timer = setInterval(tell, 250);
  }
}
