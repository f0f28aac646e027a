"""Sessions that watch a published stream."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import RTCPeerConnection

from gest_stream.rtc.clocks import SenderClock
from gest_stream.server.processing import ProcessingSession
from gest_stream.server.results import ResultsChannel
from gest_stream.server.session import Session, SessionContext, SessionKind, transceiver_of


class ViewingSession(Session):
    """Sends what a publisher's session draws, and its sound.

    Args:
        publisher: Whose picture.
        client: Address of the peer.
        context: What sessions share.
        on_end: Called once, when everything has been let go of.
    """

    def __init__(
        self,
        publisher: ProcessingSession,
        client: str,
        context: SessionContext,
        on_end: Callable[[Session], object],
    ) -> None:
        super().__init__(SessionKind.VIEW, publisher.stream, client, context, on_end)
        self._publisher = publisher
        self._sender: SenderClock | None = None

    @property
    def _picture_sender(self) -> SenderClock | None:
        return self._sender

    def _subscribe(self, results: ResultsChannel) -> None:
        self._publisher.add_viewer(results)

    def _attach(self, connection: RTCPeerConnection) -> None:
        video, audio = transceiver_of(connection, "video"), transceiver_of(connection, "audio")
        assert video is not None  # the offer was checked
        video.sender.replaceTrack(self._publisher.picture_track())
        video.direction = "sendonly"
        self._sender = SenderClock(video.sender)
        if audio is not None:
            sound = self._publisher.sound_track()
            if sound is not None:
                audio.sender.replaceTrack(sound)
            audio.direction = "inactive" if sound is None else "sendonly"

    async def _work(self) -> str:
        await self._stopping.wait()
        return self._reason

    async def _let_go(self) -> None:
        for sender in self._connection.getSenders():
            if sender.track is not None:
                sender.track.stop()  # one that was never started ends with nobody else
