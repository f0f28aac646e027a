/** The camera: opening it, its sizes, and which ones there are. */

const SIZES = { 480: [640, 480], 720: [1280, 720] };

export class Camera extends EventTarget {
  stream = null;
  #newest = 0;

  /** The video track, null while it is off. */
  get track() {
    return this.stream?.getVideoTracks()[0] ?? null;
  }

  /**
   * Open it, or open it anew with other settings.
   * @param {{lines: string, deviceId: string}} wanted
   * @returns {Promise<boolean>} false where it was closed, or opened anew, in the meantime
   * @throws {DOMException | TypeError} as getUserMedia does; TypeError where the page may not ask at all
   */
  async open({ lines, deviceId }) {
    const [width, height] = SIZES[lines];
    const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
    if (deviceId) video.deviceId = { exact: deviceId };
    else video.facingMode = "user";
    if (!navigator.mediaDevices?.getUserMedia) throw new NoCameraAccess();
    // some cameras open only once, and phones only one at a time
    this.close();
    const mine = this.#newest;
    const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false }).catch((problem) => {
      if (mine === this.#newest) throw problem;
      return null;
    });
    if (mine !== this.#newest) return stopped(stream);
    this.stream = stream;
    this.track.contentHint = "motion";
    this.track.addEventListener("ended", () => {
      if (this.stream === stream) this.dispatchEvent(new Event("gone"));
    });
    return true;
  }

  close() {
    this.#newest++;
    stopped(this.stream);
    this.stream = null;
  }

  /** Cameras by id; their names are known once one was allowed. */
  async list() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    return all
      .filter(({ kind, deviceId }) => kind === "videoinput" && deviceId)
      .map(({ deviceId, label }, index) => ({ deviceId, label: label || `Camera ${index + 1}` }));
  }
}

function stopped(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
  return false;
}

/** The browser offers no cameras to this page: it did not come over HTTPS or from this machine. */
export class NoCameraAccess extends Error {}
