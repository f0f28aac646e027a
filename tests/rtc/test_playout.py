import asyncio

from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpSendParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, unpack_header_extensions

from gest_stream.config import RtcConfig
from gest_stream.rtc.connection import answer_offer, make_connection
from gest_stream.rtc.playout import PLAYOUT_DELAY, PlayoutExtensions
from tests.rtc.test_offer import recorded

MID = RTCRtpHeaderExtensionParameters(id=4, uri="urn:ietf:params:rtp-hdrext:sdes:mid")
DELAY = RTCRtpHeaderExtensionParameters(id=12, uri=PLAYOUT_DELAY)


def packed_by(extensions: HeaderExtensionsMap, *known: RTCRtpHeaderExtensionParameters) -> dict[int, bytes]:
    extensions.configure(RTCRtpSendParameters(headerExtensions=list(known)))
    profile, packed = extensions.set(HeaderExtensions(mid="0"))
    return dict(unpack_header_extensions(profile, packed))


def test_a_receiver_that_knows_it_is_asked_for_no_delay_beside_what_aiortc_says() -> None:
    assert packed_by(PlayoutExtensions(), MID, DELAY) == {4: b"0", 12: b"\0\0\0"}
    assert packed_by(PlayoutExtensions(), DELAY) == {12: b"\0\0\0"}


def test_one_that_does_not_know_it_gets_what_aiortc_says() -> None:
    assert packed_by(PlayoutExtensions(), MID) == packed_by(HeaderExtensionsMap(), MID) == {4: b"0"}


def test_chrome_s_offer_is_answered_with_it() -> None:
    async def run() -> str:
        config = RtcConfig()
        connection = make_connection(config)
        answer = await answer_offer(connection, recorded("chrome_loop"), config)
        await connection.close()
        return answer

    assert f" {PLAYOUT_DELAY}" in asyncio.run(run())
