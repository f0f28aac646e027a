/** The effect, its background picture and the landmarks: what is chosen, and that every new session hears of it. */

import { asJpeg } from "./background.js";

export class Effects {
  #form;
  #tell;
  #session = null;
  #picture = null;
  #holds = null; // the session that has the picture
  #accepted = "overlay";

  /**
   * @param {HTMLFormElement} form
   * @param {(text: string) => void} tell
   */
  constructor(form, tell) {
    this.#form = form;
    this.#tell = tell;
    for (const radio of form.elements.effect) radio.addEventListener("change", () => this.apply());
    form.elements.landmarks.addEventListener("change", () => this.apply());
    form.elements.background.addEventListener("change", () => this.#take());
    this.#showRow();
  }

  /** Choose the effect of that place, 0 to 4. */
  choose(index) {
    const radio = this.#form.elements.effect[index];
    if (!radio || radio.disabled) return;
    radio.checked = true;
    this.apply();
  }

  /** A session is up and says what it can draw. */
  greet(session, { effects }) {
    this.#session = session;
    for (const radio of this.#form.elements.effect) radio.disabled = Array.isArray(effects) && !effects.includes(radio.value);
    this.apply();
  }

  /** Nothing is connected. */
  leave() {
    this.#session = null;
  }

  /** Tell the server what is chosen. */
  async apply() {
    const kind = this.#form.elements.effect.value;
    this.#showRow();
    if (kind === "replace" && !this.#picture) return this.#tell("Choose a background picture.");
    const session = this.#session;
    if (!session) return;
    try {
      if (kind === "replace" && this.#holds !== session) {
        await session.setBackground(this.#picture);
        this.#holds = session;
      }
      await session.channels.send("effect", { kind, landmarks: this.#form.elements.landmarks.checked });
      this.#accepted = kind;
    } catch (problem) {
      if (session.isOver) return; // the next session is told again
      this.#tell(`The effect stays as it was: ${problem.message}`);
      this.#form.elements.effect.value = this.#accepted;
      this.#showRow();
    }
  }

  async #take() {
    const file = this.#form.elements.background.files[0];
    if (!file) return;
    try {
      this.#picture = await asJpeg(file);
      this.#holds = null;
      await this.apply();
    } catch (problem) {
      this.#tell(problem.message);
    }
  }

  #showRow() {
    document.getElementById("background-row").hidden = this.#form.elements.effect.value !== "replace";
  }
}
