"""When received frames were captured, and under which RTP timestamps our own frames leave."""

from __future__ import annotations

from fractions import Fraction

from aiortc import RTCRtpReceiver, RTCRtpSender


class ReceiverClock:
    """The sender's clock, for frames that a receiver gave out.

    Args:
        receiver: Of a connection from `make_connection`.
    """

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._receiver = receiver

    def capture_time_ms(self, pts_90k: int) -> float | None:
        """When a frame was captured.

        Args:
            pts_90k: The frame's pts, in units of 1/90000 s, as the receiver gave it.

        Returns:
            Unix milliseconds on the sender's clock; None until its first RTCP sender report.
        """
        return None


class SenderClock:
    """The RTP timestamps of what a sender sends.

    Args:
        sender: Of a connection from `make_connection`.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender

    def rtp_timestamp(self, pts: int, time_base: Fraction) -> int | None:
        """The 32-bit RTP timestamp under which a frame leaves, or left.

        Args:
            pts: The frame's.
            time_base: The frame's, in seconds a unit.

        Returns:
            The timestamp; None before a first frame was sent.
        """
        return None
