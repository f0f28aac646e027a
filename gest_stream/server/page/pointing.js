/** Pointing at hands on the returned picture: by mouse, finger and keyboard. */

import { handAt, pointInBox, pointOnPicture } from "./geometry.js";

const STEP = 0.02;
const LARGE_STEP = 0.1;
const MARKS = { positive: "+", negative: "−", remove: "×" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pointing {
  #box;
  #video;
  #marks;
  #crosshair;
  #form;
  #target;
  #onPoint;
  #enabled = false;
  #place = [0.5, 0.5];
  #result = null;
  mirrored = false;

  /**
   * @param {HTMLElement} box around the video, takes the focus
   * @param {HTMLFormElement} form with the radio buttons "pointing" and the list "target"
   * @param {(command: {type: string, fields: object} | {problem: string}) => void} onPoint
   */
  constructor(box, form, onPoint) {
    this.#box = box;
    this.#video = box.querySelector("video");
    this.#marks = box.querySelector("#marks");
    this.#crosshair = box.querySelector("#crosshair");
    this.#form = form;
    this.#target = form.elements.target;
    this.#onPoint = onPoint;
    box.addEventListener("click", (event) => this.#click(event, event.shiftKey ? "negative" : this.#mode));
    box.addEventListener("contextmenu", (event) => {
      if (!this.#enabled) return;
      event.preventDefault();
      this.#click(event, "negative");
    });
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("focus", () => this.#showCrosshair());
    box.addEventListener("blur", () => (this.#crosshair.hidden = true));
    new ResizeObserver(() => this.#showCrosshair()).observe(box);
  }

  set enabled(on) {
    this.#enabled = on;
    const box = this.#box;
    box.classList.toggle("pointable", on);
    box.tabIndex = on ? 0 : -1;
    if (on) {
      box.setAttribute("role", "application");
      box.setAttribute("aria-label", "Returned picture");
      box.setAttribute("aria-describedby", "pointer-help");
    } else for (const name of ["role", "aria-label", "aria-describedby"]) box.removeAttribute(name);
    this.#showCrosshair();
  }

  /** The newest result: which hands there are to point at. */
  set result(result) {
    this.#result = result;
    const ids = result?.tracks.map(({ id }) => String(id)) ?? [];
    const options = [...this.#target.options].slice(1);
    if (ids.join() === options.map(({ value }) => value).join()) return;
    const chosen = this.#target.value;
    for (const option of options) option.remove();
    for (const id of ids) this.#target.add(new Option(`hand ${id}`, id));
    this.#target.value = ids.includes(chosen) ? chosen : "";
  }

  get #mode() {
    return this.#form.elements.pointing.value;
  }

  get #size() {
    return { width: this.#video.videoWidth, height: this.#video.videoHeight };
  }

  get #area() {
    // not getBoundingClientRect of the video: mirroring is a transform
    return { width: this.#box.clientWidth, height: this.#box.clientHeight };
  }

  #click(event, mode) {
    if (!this.#enabled) return;
    const corner = this.#box.getBoundingClientRect();
    const point = { x: event.clientX - corner.left, y: event.clientY - corner.top };
    const place = pointOnPicture(point, this.#area, this.#size, this.mirrored);
    if (place) this.#point(place, mode);
  }

  #key(event) {
    if (!this.#enabled || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in ARROWS) {
      const step = event.shiftKey ? LARGE_STEP : STEP;
      const [right, down] = ARROWS[event.key];
      const x = this.#place[0] + right * step * (this.mirrored ? -1 : 1);
      this.#place = [clamped(x), clamped(this.#place[1] + down * step)];
      this.#showCrosshair();
    } else if (event.key === "Enter") this.#point(this.#place, event.shiftKey ? "negative" : this.#mode);
    else if (event.key === "Backspace" || event.key === "Delete") this.#point(this.#place, "negative");
    else return;
    event.preventDefault();
  }

  #point(place, mode) {
    this.#place = place;
    this.#showCrosshair();
    const chosen = Number(this.#target.value) || null;
    const hand = chosen ?? handAt(place, this.#result)?.id ?? null;
    if (mode === "remove") {
      if (hand === null) return this.#onPoint({ problem: "There is no hand there to remove." });
      this.#onPoint({ type: "remove_track", fields: { track_id: hand } });
    } else {
      const labels = [mode === "positive" ? 1 : 0];
      const fields = { points_xy_norm: [place.map((value) => Number(value.toFixed(4)))], labels, track_id: hand };
      this.#onPoint({ type: "prompt", fields: { ...fields, box_xyxy_norm: null } });
    }
    this.#mark(place, mode);
  }

  #mark(place, mode) {
    const mark = document.createElement("div");
    mark.className = "mark";
    mark.textContent = MARKS[mode];
    this.#put(mark, place);
    this.#marks.append(mark);
    setTimeout(() => mark.remove(), 1_600);
  }

  #showCrosshair() {
    const shown = this.#enabled && document.activeElement === this.#box && this.#size.width > 0;
    this.#crosshair.hidden = !shown;
    if (shown) this.#put(this.#crosshair, this.#place);
  }

  #put(element, place) {
    const { x, y } = pointInBox(place, this.#area, this.#size, this.mirrored);
    element.style.left = `${x}px`;
    element.style.top = `${y}px`;
  }
}

function clamped(value) {
  return Math.min(Math.max(value, 0), 1);
}
