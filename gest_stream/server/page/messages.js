/** What the page says when something is wrong: what it is, and what helps. */

import { NoCameraAccess } from "./camera.js";
import { HttpProblem } from "./signalling.js";

/** @returns {{title: string, text: string}} for what opening the camera threw */
export function aboutCamera(problem) {
  if (problem instanceof NoCameraAccess) {
    return {
      title: "This page may not use a camera",
      text: `Browsers give cameras only to pages that came over HTTPS or from this machine. Open it as https://${location.host}, or on the server itself as http://localhost.`,
    };
  }
  switch (problem.name) {
    case "NotAllowedError":
    case "SecurityError":
      return {
        title: "The camera was refused",
        text: "Allow it for this page: by the camera sign in the address bar, or in the browser's or the phone's settings. Then try again.",
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return { title: "No camera was found", text: "Plug one in, or switch it on, and try again." };
    case "NotReadableError":
    case "AbortError":
      return {
        title: "The camera is in use or does not answer",
        text: "Close other programs and tabs that use it, or unplug it and plug it in again. Then try again.",
      };
    default:
      return { title: "The camera could not be opened", text: `${problem.message || problem.name}. Try again.` };
  }
}

/** @returns {{title: string, text: string}} for a pause before the next attempt */
export function aboutWaiting({ kind, reason }, stream) {
  const why = sentence(reason);
  switch (kind) {
    case "full":
      return { title: "The server is full", text: "All its places are taken. The page tries again by itself." };
    case "absent":
      return { title: `Nobody publishes “${stream}” now`, text: "The page tries again by itself." };
    case "ended":
      return { title: "The server ended the session", text: `${why} The page connects again by itself.` };
    default:
      return { title: "The connection was lost", text: `${why} The page connects again by itself.` };
  }
}

/** @returns {{title: string, text: string}} for what cannot be mended by trying again */
export function aboutRefusal(problem) {
  if (problem instanceof HttpProblem) {
    const text = problem.status === 403 ? "Open this page from the server itself, or have its address allowed there." : "";
    return { title: `The server refused (${problem.status})`, text: `${sentence(problem.message)} ${text}`.trim() };
  }
  return { title: "The connection could not be made", text: `${sentence(problem.message || problem.name)}` };
}

/** @returns {{title: string, text: string}} for a server that wants a token */
export function aboutToken(tried) {
  if (tried) return { title: "The server does not take this token", text: "Type it again; it is kept for this tab only." };
  return {
    title: "The server wants a token",
    text: "It is the one that the server was started with. It is kept for this tab only.",
  };
}

/** One of the words with a capital and a full stop. */
export function sentence(text) {
  const words = String(text ?? "").trim();
  if (!words) return "";
  return words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}
