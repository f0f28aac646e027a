"""What only a browser shows: its markers, padding, sender reports and the timestamps that it sees."""

from __future__ import annotations

import asyncio
import shutil
import statistics
from fractions import Fraction
from typing import Any

import av
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import MediaStreamError

from gest_stream.config import RtcConfig
from gest_stream.rtc.clocks import ReceiverClock, SenderClock
from gest_stream.rtc.connection import answer_offer, make_connection
from gest_stream.rtc.media import MediaReceiver
from gest_stream.rtc.offer import OfferPurpose, check_offer
from tests.rtc.peers import bar_number

_CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(_CHROMIUM is None, reason="there is no chromium on this machine"),
]
_CONFIG = RtcConfig()
_PAGE = """async () => {
  const canvas = document.createElement('canvas'); canvas.width = 480; canvas.height = 360;
  const pen = canvas.getContext('2d');
  window.drawn = {}; window.seen = [];
  let frames = 0;
  const draw = (now) => {
    requestAnimationFrame(draw);
    if (frames++ % 2) return;  // 30 a second
    const number = ((frames + 1) >> 1) % 4096;
    for (let bit = 0; bit < 12; bit++) {
      pen.fillStyle = (number >> bit) & 1 ? '#fff' : '#000';
      pen.fillRect(bit * 40, 0, 40, 360);
    }
    window.drawn[number] = performance.timeOrigin + now;
  };
  requestAnimationFrame(draw);
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver(canvas.captureStream().getVideoTracks()[0], {direction: 'sendrecv'});
  const video = document.createElement('video'); video.muted = true; video.autoplay = true; document.body.append(video);
  const note = (now, metadata) => {
    window.seen.push(metadata.rtpTimestamp);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  pc.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise((done) => {
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
    if (pc.iceGatheringState === 'complete') done();
  });
  return pc.localDescription.sdp;
}"""


class Echo(MediaStreamTrack):
    """What a track gives, given back; with what the clocks say of every picture."""

    kind = "video"

    def __init__(self, track: MediaStreamTrack, connection: RTCPeerConnection) -> None:
        super().__init__()
        self._track = track
        self._received = ReceiverClock(connection.getReceivers()[0])
        self._sent = SenderClock(connection.getSenders()[0])
        self.captured: dict[int, float] = {}
        self.pts: list[int] = []

    async def recv(self) -> av.VideoFrame:
        frame = await self._track.recv()
        if not isinstance(frame, av.VideoFrame) or frame.pts is None:
            raise MediaStreamError
        self.pts.append(frame.pts)
        captured = self._received.capture_time_ms(frame.pts)
        if captured is not None:
            self.captured[bar_number(frame)] = captured
        return frame

    def all_stamps(self) -> set[int | None]:
        return {self._sent.rtp_timestamp(pts, Fraction(1, 90_000)) for pts in self.pts}


async def _loop(codec: str, seconds: float) -> dict[str, Any]:
    """Chromium sends a canvas for a while and gets it back."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install 'gest-stream[dev]'")
    from playwright.async_api import async_playwright

    echoes: list[Echo] = []
    capabilities = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name in (codec, "rtx")]

    def give_back(connection: RTCPeerConnection) -> None:
        transceiver = connection.getTransceivers()[0]
        transceiver.setCodecPreferences(capabilities)
        echoes.append(Echo(transceiver.receiver.track, connection))
        connection.addTrack(echoes[0])

    server = make_connection(_CONFIG)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        try:
            page = await browser.new_page()
            offer = await page.evaluate(_PAGE)
            check_offer(offer, OfferPurpose.LOOP, 65_536)
            answer = await answer_offer(server, offer, _CONFIG, give_back)
            await page.evaluate("sdp => pc.setRemoteDescription({type: 'answer', sdp})", answer)
            await page.wait_for_function("window.seen.length > 10", timeout=20_000)
            await page.wait_for_timeout(seconds * 1000)
            found: dict[str, Any] = await page.evaluate("() => ({seen: window.seen, drawn: window.drawn})")
        finally:
            await browser.close()
            receiver = server.getReceivers()[0]
            await server.close()
    assert isinstance(receiver, MediaReceiver)
    return {**found, "echo": echoes[0], "receiver": receiver}


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_chromium_sees_the_timestamps_and_sends_the_clock_that_we_say(codec: str) -> None:
    found = asyncio.run(_loop(codec, 4.0))
    echo, receiver = found["echo"], found["receiver"]
    assert isinstance(echo, Echo) and isinstance(receiver, MediaReceiver)
    assert receiver._private("jitter_buffer")._trusts_markers
    counts = receiver.counts
    assert counts.decoded > 60 and counts.failed <= 2 and counts.dropped <= 5
    seen = set(found["seen"])
    assert len(seen) > 40 and seen <= echo.all_stamps()
    drawn = {int(number): at for number, at in found["drawn"].items()}
    errors = [at - drawn[number] for number, at in echo.captured.items() if number in drawn]
    assert len(errors) > 20
    assert -20 < statistics.median(errors) < 60  # a canvas is captured up to a frame after it was drawn
