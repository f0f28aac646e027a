// The other end of the page's connection, in the page itself: what a scripted server says and what it was told.
// Pictures go back as they came.
window.peer = {
  connections: 0,
  commands: [],
  refusals: {}, // type of command -> message
  greeting: { session: "scripted", segmenter: "sam2", takes_clicks: true, effects: ["overlay", "contour", "green", "blur", "replace"] },
  greets: true,

  async answer(offer) {
    const pc = new RTCPeerConnection();
    this.connections++;
    this.pc = pc;
    this.results = this.channel = null;
    pc.ontrack = ({ track, transceiver }) => {
      transceiver.direction = "sendrecv";
      transceiver.sender.replaceTrack(track);
    };
    pc.ondatachannel = ({ channel }) => {
      if (channel.label === "results") this.results = channel;
      else this.take(channel);
    };
    await pc.setRemoteDescription({ type: "offer", sdp: offer });
    await pc.setLocalDescription();
    while (pc.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
    return pc.localDescription.sdp;
  },

  take(channel) {
    this.channel = channel;
    channel.onmessage = ({ data }) => {
      const command = JSON.parse(data);
      this.commands.push(command);
      const message = this.refusals[command.type];
      if (message) this.say({ type: "error", id: command.id, message });
      else this.say({ type: "ok", id: command.id, track_id: command.track_id ?? 7 });
    };
    if (this.greets) this.say({ type: "hello", ...this.greeting });
  },

  say(message) {
    this.channel.send(JSON.stringify({ v: 1, ...message }));
  },

  result(fields) {
    this.results.send(JSON.stringify({ v: 1, type: "result", tracks: [], size: [640, 480], timings_ms: {}, ...fields }));
  },

  close() {
    this.pc.close();
  },
};
