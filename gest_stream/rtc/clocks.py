"""When received frames were captured, and under which RTP timestamps our own frames leave."""

from __future__ import annotations

import statistics
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING

from aiortc.mediastreams import VIDEO_TIME_BASE, convert_timebase

if TYPE_CHECKING:
    from aiortc import RTCRtpReceiver, RTCRtpSender

_UNIX_EPOCH_NTP_S = 2_208_988_800
"""Seconds from NTP's epoch, 1900, to Unix's (RFC 868)."""
_TICKS_PER_MS = 90
_KEPT_REPORTS = 5


class SenderReports:
    """The newest RTCP sender reports of one stream (RFC 3550, section 6.4.1)."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque(maxlen=_KEPT_REPORTS)

    def add(self, ntp_timestamp: int, rtp_timestamp: int) -> None:
        """Take a report.

        Args:
            ntp_timestamp: 64 bits; 0 says that the sender has no clock, or has not sent anything yet.
            rtp_timestamp: 32 bits, of the same moment.
        """
        if ntp_timestamp:
            unix_ms = ((ntp_timestamp >> 32) - _UNIX_EPOCH_NTP_S) * 1000 + (ntp_timestamp & 0xFFFFFFFF) * 1000 / 2**32
            self._reports.append((unix_ms, rtp_timestamp))

    def unix_ms(self, rtp_timestamp: int) -> float | None:
        """Unix milliseconds of an RTP timestamp, on the sender's clock; None where nothing was reported.

        The median over an odd number of reports: a single wrong one changes nothing, and the newest counts when
        another has come behind it.
        """
        odd = len(self._reports) - (len(self._reports) + 1) % 2
        if odd < 1:
            return None
        reports = list(self._reports)[:odd]
        return statistics.median(at + _signed(rtp_timestamp - rtp) / _TICKS_PER_MS for at, rtp in reports)


def _signed(difference: int) -> int:
    """A difference of two 32-bit timestamps, of which either may have wrapped."""
    return (difference + 2**31) % 2**32 - 2**31


class ReceiverClock:
    """The sender's clock, for frames that a receiver gave out.

    Args:
        receiver: Of a connection from `make_connection`.
    """

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self._receiver = receiver

    def rtp_timestamp(self, pts_90k: int) -> int | None:
        """The 32-bit RTP timestamp under which a frame came.

        Args:
            pts_90k: The frame's pts, in units of 1/90000 s, as the receiver gave it.
        """
        origin: int | None = getattr(self._receiver, "timestamp_origin", None)
        return None if origin is None else (origin + pts_90k) % 2**32

    def capture_time_ms(self, pts_90k: int) -> float | None:
        """When a frame was captured.

        Args:
            pts_90k: The frame's pts, in units of 1/90000 s, as the receiver gave it.

        Returns:
            Unix milliseconds on the sender's clock; None until its first RTCP sender report.
        """
        reports: SenderReports | None = getattr(self._receiver, "reports", None)
        timestamp = self.rtp_timestamp(pts_90k)
        return None if reports is None or timestamp is None else reports.unix_ms(timestamp)


class SenderClock:
    """The RTP timestamps of what a sender sends.

    Args:
        sender: Of a connection from `make_connection`.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender

    def rtp_timestamp(self, pts: int, time_base: Fraction) -> int | None:
        """The 32-bit RTP timestamp under which a video frame leaves, or left.

        Args:
            pts: The frame's.
            time_base: The frame's, in seconds a unit.

        Returns:
            The timestamp; None before a first frame was sent.
        """
        origin: int | None = getattr(self._sender, "timestamp_origin", None)
        return None if origin is None else (origin + convert_timebase(pts, time_base, VIDEO_TIME_BASE)) % 2**32
