// Reads the numbers burnt into the camera's picture and into the returned one, and keeps the results that came along.
// It is put into the page by the benchmark and the tests; the page itself knows nothing of it.
window.probe = {
  sent: [],
  returned: [],
  results: [],
  running: false,
  connection: null,
  connections: 0,

  /** @param {{cells: number, width: number, height: number}} band shares of the picture */
  start(band) {
    this.running = true;
    this.watch(document.getElementById("sent"), this.sent, band);
    this.watch(document.getElementById("returned"), this.returned, band);
  },

  stop() {
    this.running = false;
    return { origin: performance.timeOrigin, connections: this.connections, sent: this.sent, returned: this.returned, results: this.results };
  },

  /** Where the browser itself says that time goes: sums of seconds, and what they are sums over. */
  async times() {
    const all = [...(await this.connection.getStats()).values()].filter(({ kind }) => kind === "video");
    const sent = all.find(({ type }) => type === "outbound-rtp") ?? {};
    const returned = all.find(({ type }) => type === "inbound-rtp") ?? {};
    return {
      encode: [sent.totalEncodeTime, sent.framesEncoded],
      jitter_buffer: [returned.jitterBufferDelay, returned.jitterBufferEmittedCount],
      decode: [returned.totalDecodeTime, returned.framesDecoded],
    };
  },

  watch(video, into, band) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [(band.cells + 2) * 4, 5];
    const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    const next = (now, metadata) => {
      if (!this.running) return;
      video.requestVideoFrameCallback(next);
      const [width, height] = [video.videoWidth, video.videoHeight];
      context.drawImage(video, 0, 0, width * band.width, height * band.height, 0, 0, canvas.width, canvas.height);
      const { data } = context.getImageData(0, 2, canvas.width, 1);
      const levels = [];
      for (let cell = 1; cell <= band.cells; cell++) {
        let sum = 0;
        for (const x of [cell * 4 + 1, cell * 4 + 2]) sum += data[x * 4] + data[x * 4 + 1] + data[x * 4 + 2];
        levels.push(Math.round(sum / 6));
      }
      into.push({
        now,
        levels,
        width,
        height,
        shown: metadata.expectedDisplayTime,
        captured: metadata.captureTime ?? null,
        rtp: metadata.rtpTimestamp ?? null,
        presented: metadata.presentedFrames,
      });
    };
    video.requestVideoFrameCallback(next);
  },

  /** One returned picture whole, as a PNG in base64, with its RTP timestamp. */
  grab() {
    const video = document.getElementById("returned");
    return new Promise((resolve) => {
      video.requestVideoFrameCallback((now, { rtpTimestamp }) => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        canvas.getContext("2d", { willReadFrequently: true, alpha: false }).drawImage(video, 0, 0);
        resolve({ rtp: rtpTimestamp ?? null, png: canvas.toDataURL("image/png").split(",")[1] });
      });
    });
  },
};

const createDataChannel = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (label, options) {
  const channel = createDataChannel.call(this, label, options);
  if (probe.connection !== this) probe.connections++;
  probe.connection = this;
  if (label === "results") {
    channel.addEventListener("message", ({ data }) => {
      if (probe.running) probe.results.push(data);
    });
  }
  return channel;
};
