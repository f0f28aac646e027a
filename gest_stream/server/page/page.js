/** Puts the page together: camera, connection, controls, panel and what is told to the user. */

import { Access } from "./access.js";
import { Camera } from "./camera.js";
import { Effects } from "./effects.js";
import { Link } from "./link.js";
import { aboutCamera, aboutRefusal, aboutToken, aboutWaiting, sentence } from "./messages.js";
import { Notice } from "./notice.js";
import { Panel } from "./panel.js";
import { Pointing } from "./pointing.js";
import { HttpProblem, Signalling } from "./signalling.js";

const TOLD_MS = 10_000;
const at = (id) => document.getElementById(id);
const form = at("controls");
const stream = new URLSearchParams(location.search).get("view");
const viewing = stream !== null;
const STREAM_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const access = new Access();
const signalling = new Signalling(access);
const camera = new Camera();
const notice = new Notice();
const panel = new Panel(at("returned"));
const effects = new Effects(form, tell);
const pointing = new Pointing(at("pointer"), form, point);
const link = new Link(signalling, settings);
let triedToken = false;
let toldTimer = 0;

async function settings(signal) {
  const config = await signalling.config(signal);
  const common = { codec: form.elements.codec.value, iceServers: config.ice_servers ?? [] };
  if (viewing) return { ...common, path: `whep/${encodeURIComponent(stream)}`, track: null };
  return { ...common, path: "loop", track: camera.track };
}

// ---- what is shown -------------------------------------------------------------------------------------------

function show(phase, text) {
  document.body.dataset.phase = phase;
  at("status-text").textContent = text;
  const running = !["idle", "refused", "token"].includes(phase);
  at("start").disabled = running || phase === "token";
  at("stop").disabled = !running;
  at("pause").disabled = phase !== "live";
}

/** A line for what happened just now. */
function tell(text) {
  at("told").textContent = text;
  clearTimeout(toldTimer);
  if (text) toldTimer = setTimeout(() => tell(""), TOLD_MS);
}

function showPaused(paused) {
  at("pause").ariaPressed = String(paused);
  at("pause").textContent = paused ? "Go on" : "Pause";
}

function askForToken() {
  show("token", "A token is needed.");
  notice.show(aboutToken(triedToken), { token: true });
}

// ---- start and stop ------------------------------------------------------------------------------------------

async function start() {
  if (link.running) return;
  notice.hide();
  tell("");
  if (!viewing) show("camera", "Opening the camera…");
  if (viewing || (await openCamera())) link.start();
}

function stop() {
  link.stop();
  closeCamera();
  notice.hide();
  show("idle", "Stopped.");
}

async function openCamera() {
  try {
    // the user may press Stop, or choose another one, while the browser asks
    if (!(await camera.open({ lines: form.elements.size.value, deviceId: form.elements.camera.value }))) return false;
  } catch (problem) {
    link.stop();
    closeCamera();
    const words = aboutCamera(problem);
    show("idle", `${words.title}.`);
    notice.show(words, { label: "Try again", action: start });
    return false;
  }
  at("sent").srcObject = camera.stream;
  at("sent").classList.add("shows");
  listCameras();
  return true;
}

function closeCamera() {
  camera.close();
  at("sent").srcObject = null;
  at("sent").classList.remove("shows");
}

async function changeCamera() {
  if (!link.running || !(await openCamera())) return;
  await link.session?.send(camera.track).catch(() => link.renew());
}

async function listCameras() {
  const list = await camera.list();
  const current = camera.track?.getSettings().deviceId;
  const chosen = form.elements.camera;
  chosen.replaceChildren(...list.map(({ deviceId, label }) => new Option(label, deviceId)));
  if (current) chosen.value = current;
  at("camera-row").hidden = list.length < 2;
}

// ---- the connection ------------------------------------------------------------------------------------------

link.addEventListener("session", ({ detail: session }) => {
  panel.follow(session);
  session.addEventListener("picture", ({ detail }) => (at("returned").srcObject = detail));
  session.addEventListener("hello", ({ detail }) => greet(session, detail));
  session.addEventListener("result", ({ detail }) => (pointing.result = detail));
  session.addEventListener("refused", ({ detail }) => tell(`The server refused: ${detail.message}`));
});

link.addEventListener("phase", ({ detail }) => {
  if (detail.phase !== "live") leave();
  if (detail.phase === "connecting") notice.calm();
  else notice.hide();
  PHASES[detail.phase](detail);
});

const PHASES = {
  connecting: ({ attempt }) => show("connecting", attempt > 1 ? "Connecting again…" : "Connecting…"),
  live: () => show("live", viewing ? "Live." : "Connected; the server gets ready…"),
  waiting: ({ until, cause }) => {
    const words = aboutWaiting(cause, stream);
    show("waiting", `${words.title}.`);
    notice.show(words, { label: "Try now", action: () => link.retryNow(), until });
  },
  token: askForToken,
  refused: ({ problem }) => {
    const words = aboutRefusal(problem);
    show("refused", `${words.title}.`);
    notice.show(words, { label: "Try again", action: start });
    closeCamera();
  },
  stopped: () => show("idle", "Stopped."),
};

function leave() {
  panel.follow(null);
  effects.leave();
  pointing.enabled = false;
  pointing.result = null;
  form.elements.pointing[0].closest("fieldset").disabled = true;
  at("pointing-note").hidden = true;
  at("returned").classList.remove("shows");
  at("returned").srcObject = null;
  showPaused(false);
}

function greet(session, hello) {
  at("status-text").textContent = "Live.";
  effects.greet(session, hello);
  pointing.enabled = Boolean(hello.takes_clicks);
  at("pointing").disabled = !hello.takes_clicks;
  at("pointing-note").hidden = Boolean(hello.takes_clicks);
  at("pointing-note").textContent = `Clicks need the segmenter sam2; this server runs ${hello.segmenter}.`;
}

async function command(type, fields) {
  const session = link.session;
  if (!session?.channels) return null;
  try {
    return await session.channels.send(type, fields);
  } catch (problem) {
    if (!session.isOver) tell(sentence(problem.message));
    return null;
  }
}

async function point({ type, fields, problem }) {
  tell(problem ?? "");
  if (problem) return;
  const answer = await command(type, fields);
  if (!answer) return;
  if (type === "remove_track") tell(`Hand ${fields.track_id} is removed.`);
  else if (fields.track_id === null) tell(`Hand ${answer.track_id} is new.`);
}

async function pause() {
  const session = link.session;
  if (at("pause").disabled || !session) return;
  const paused = !session.paused;
  if (!(await command("pause", { paused }))) return;
  session.paused = paused;
  showPaused(paused);
  at("status-text").textContent = paused ? "Paused." : "Live.";
}

// ---- controls ------------------------------------------------------------------------------------------------

at("start").addEventListener("click", start);
at("stop").addEventListener("click", stop);
at("pause").addEventListener("click", pause);
form.addEventListener("submit", (event) => event.preventDefault());
form.elements.size.addEventListener("change", changeCamera);
form.elements.camera.addEventListener("change", changeCamera);
form.elements.codec.addEventListener("change", () => link.renew());
form.elements.mirror.addEventListener("change", ({ target }) => {
  document.querySelector(".pictures").classList.toggle("mirrored", target.checked);
  pointing.mirrored = target.checked;
});
at("returned").addEventListener("loadeddata", () => at("returned").classList.add("shows"));
camera.addEventListener("gone", () => {
  stop();
  notice.show({ title: "The camera went away", text: "Plug it in again, or allow it again." }, { label: "Try again", action: start });
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => camera.track && listCameras());

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  access.token = at("token").value;
  at("token").value = "";
  useToken();
});
addEventListener("hashchange", () => access.takeFromAddress() && document.body.dataset.phase === "token" && useToken());

/** Go on with what the token was asked for. */
function useToken() {
  triedToken = true;
  notice.hide();
  if (viewing || camera.track) link.start();
  else greetServer();
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  const within = (selector) => event.target instanceof Element && event.target.closest(selector);
  if (within("input[type=password], select")) return;
  if (event.key === "Escape" && !at("stop").disabled) stop();
  else if (event.key === " " && !viewing && !within("button, summary, input")) pause();
  else if (/^[1-5]$/.test(event.key) && !viewing) effects.choose(Number(event.key) - 1);
  else return;
  event.preventDefault();
});

// keepalive requests outlive the page: the server's place is free at once
addEventListener("pagehide", () => {
  if (link.running) stop();
});

/** Ask for the token before the camera. */
async function greetServer() {
  try {
    await signalling.config();
    show("idle", "Ready.");
  } catch (problem) {
    if (problem instanceof HttpProblem && problem.status === 401) askForToken();
    else show("idle", "Ready."); // what else is wrong is told when it is needed
  }
}

function refuseName() {
  show("refused", "There is no such stream.");
  at("start").disabled = true;
  const text = "Names have 1 to 64 letters, digits, _ and -. Correct the address after ?view=.";
  notice.show({ title: `“${stream.slice(0, 80)}” is no name of a stream`, text });
}

document.body.dataset.mode = viewing ? "view" : "loop";
if (viewing) {
  document.title = `${stream} · gest_stream`;
  at("start").textContent = "Watch";
  if (STREAM_NAME.test(stream)) start();
  else refuseName();
} else greetServer();
