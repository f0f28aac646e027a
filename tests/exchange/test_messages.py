"""Messages byte for byte, and what the parser refuses."""

import re
import struct
from enum import IntEnum
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gest_stream.exchange import messages
from gest_stream.exchange.messages import (
    MAX_PATH_BYTES,
    MESSAGE_BYTES,
    Background,
    Effect,
    ExchangeError,
    Message,
    MessageType,
    Refusal,
    ResultFlag,
    SettingKey,
    Settings,
    parse,
)
from gest_stream.exchange.slots import MAX_SIDE, MIN_SIDE, Output, PixelFormat
from tests.exchange.host import frame_of, hello_of, rgba_shape

SHARED = Path(__file__).parents[2] / "plugins" / "shared"

HELLO = hello_of(rgba_shape())
FRAME = frame_of(rgba_shape(), 2, 9, -5)
SETTINGS = Settings({SettingKey.EFFECT: 4.0, SettingKey.SMOOTHING: 0.5, SettingKey.MASK_EVERY: 3.0})
PATH = Background("/a/picture.png")
VALID: list[Message | Settings | Background] = [
    *(HELLO, FRAME, SETTINGS, Settings(), PATH, Background(""), Message(MessageType.PING))
]


def refused(data: bytes) -> Refusal:
    with pytest.raises(ExchangeError) as caught:
        parse(data)
    return caught.value.reason


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_a_message_is_packed_to_the_documented_bytes() -> None:
    packed = Message(MessageType.RESULT, 2, 1280, 720, 5120, 1, 0, 0x1122334455667788, -2, 3686400, 0, 1500).pack()
    assert packed == bytes.fromhex(
        "47534658 0100 0500 02000000 00050000 d0020000 00140000 01000000 00000000"
        "8877665544332211 feffffffffffffff 0040380000000000 00000000 dc050000"
    )


def test_settings_are_packed_to_the_documented_bytes() -> None:
    packed = Settings({SettingKey.HANDS: 2.0, SettingKey.SMOOTHING: 0.5}).pack()
    expected = bytearray(MESSAGE_BYTES)
    expected[:9] = b"GSFX\x01\x00\x06\x00\x0a"
    expected[16:20] = struct.pack("<f", 2.0)
    expected[24:28] = struct.pack("<f", 0.5)
    assert packed == bytes(expected)


@pytest.mark.parametrize("message", VALID, ids=lambda message: type(message).__name__)
def test_what_a_host_sends_is_read_back(message: Message | Settings | Background) -> None:
    assert parse(message.pack()) == message


@pytest.mark.parametrize("kind", [t for t in MessageType if t not in (1, 4, 6, 7, 8)])
def test_what_only_a_worker_sends_is_refused(kind: MessageType) -> None:
    assert refused(Message(kind, seq=1).pack()) is Refusal.MESSAGE


def test_another_magic_version_type_or_length_is_refused() -> None:
    good = FRAME.pack()
    assert refused(patched(good, 0, b"GSFY")) is Refusal.MESSAGE
    assert refused(patched(good, 4, b"\x02\x00")) is Refusal.VERSION
    assert refused(patched(good, 6, b"\xff\xff")) is Refusal.MESSAGE
    assert refused(good + b"\0") is Refusal.MESSAGE
    assert refused(good[:-1]) is Refusal.MESSAGE
    assert refused(b"") is Refusal.MESSAGE


@pytest.mark.parametrize(
    ("message", "offset"),
    [(HELLO, 40), (HELLO, 56), (HELLO, 60), (FRAME, 56), (FRAME, 60)]
    + [(Message(MessageType.PING, seq=3), offset) for offset in (8, 12, 16, 20, 24, 28, 40, 48, 56, 60)],
)
def test_a_field_that_a_type_does_not_use_must_be_0(message: Message, offset: int) -> None:
    assert refused(patched(message.pack(), offset, b"\x01")) is Refusal.MESSAGE


def test_frames_and_hellos_count_from_1() -> None:
    assert refused(patched(HELLO.pack(), 32, bytes(8))) is Refusal.MESSAGE
    assert refused(patched(FRAME.pack(), 32, bytes(8))) is Refusal.MESSAGE


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *[(SettingKey.EFFECT, value) for value in (-1.0, 8.0, 1.5, float("nan"), float("inf"))],
        *[(SettingKey.HANDS, 3.0), (SettingKey.FEATHER_PX, 64.5), (SettingKey.SMOOTHING, 0.951)],
        *[(SettingKey.MASK_EVERY, 0.0), (SettingKey.BLUR_PX, 0.0), (SettingKey.OPACITY, 1.01)],
        *[(SettingKey.LANDMARKS, 2.0), (SettingKey.LABELS, 0.5), (SettingKey.MATRIX, 3.0)],
        (SettingKey.FULL_RANGE, -0.5),
    ],
)
def test_a_setting_out_of_range_is_refused(key: SettingKey, bad: float) -> None:
    assert refused(Settings({key: bad}).pack()) is Refusal.SETTING


def test_the_ends_of_every_settings_range_are_taken() -> None:
    for key, (low, high, _) in messages._RANGES.items():
        for value in (low, high):
            parsed = parse(Settings({key: value}).pack())
            assert isinstance(parsed, Settings) and parsed.values[key] == pytest.approx(value)


def test_a_setting_that_is_not_given_must_be_0_and_unknown_ones_absent() -> None:
    good = Settings({SettingKey.HANDS: 1.0}).pack()
    assert refused(patched(good, 12, struct.pack("<f", 1.0))) is Refusal.SETTING
    assert refused(patched(good, 12, struct.pack("<f", -0.0))) is Refusal.SETTING
    assert refused(patched(good, 8, struct.pack("<I", 1 << 11 | 2))) is Refusal.SETTING
    assert refused(patched(good, 63, b"\x01")) is Refusal.SETTING


def test_a_background_is_an_absolute_path_of_the_announced_length() -> None:
    longest = "/" + "x" * (MAX_PATH_BYTES - 1)
    assert parse(Background(longest).pack()) == Background(longest)
    assert refused(Background(longest + "x").pack()) is Refusal.MESSAGE
    assert refused(Background("picture.png").pack()) is Refusal.MESSAGE
    assert refused(Background("/a\0b").pack()) is Refusal.MESSAGE
    assert refused(Background("/a").pack() + b"b") is Refusal.MESSAGE
    assert refused(patched(Background("/a").pack(), 60, b"\x01")) is Refusal.MESSAGE


def test_a_path_may_be_any_bytes() -> None:
    name = b"/pictures/\xff\xfe.png".decode(errors="surrogateescape")
    assert parse(Background(name).pack()) == Background(name)


MUTATIONS = st.lists(st.tuples(st.integers(0, MESSAGE_BYTES + 20), st.binary(max_size=8)), max_size=4)


def check_parser(data: bytes) -> None:
    """Whatever the bytes: a message that packs to them again, or an `ExchangeError`."""
    try:
        parsed = parse(data)
    except ExchangeError as exc:
        assert isinstance(exc.reason, Refusal)
        return
    assert parsed.pack() == data or isinstance(parsed, Settings)
    if isinstance(parsed, Settings):  # -0.0 is given back as it came; nothing else differs
        assert parse(parsed.pack()) == parsed


def check_mutation(seed: Message | Settings | Background, edits: list[tuple[int, bytes]], cut: int) -> None:
    data = seed.pack()
    for offset, value in edits:
        data = patched(data, min(offset, len(data)), value)
    check_parser(data[: len(data) - cut] if cut < 3 else data)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(VALID), MUTATIONS, st.integers(0, 40))
def test_mutated_messages_are_read_or_refused(
    seed: Message | Settings | Background, edits: list[tuple[int, bytes]], cut: int
) -> None:
    check_mutation(seed, edits, cut)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    check_parser(data)
    check_parser(b"GSFX\x01\x00" + data)


def mutated(data: bytes, random: Random) -> bytes:
    """Bits flipped, numbers at their edges, lengths changed."""
    out = bytearray(data)
    for _ in range(random.randrange(4)):
        what, where = random.randrange(5), random.randrange(len(out) + 1)
        if what == 0:
            out[where : where + 4] = struct.pack("<I", random.choice(EDGES))
        elif what == 1:
            out[where : where + 8] = struct.pack(
                "<d", random.choice((0.0, -0.0, 1.0, float("nan"), float("inf"), -1.5))
            )
        elif what == 2:
            del out[where : where + random.randrange(70)]
        elif what == 3:
            out[where:where] = random.randbytes(random.randrange(70))
        elif out:
            out[where % len(out)] ^= 1 << random.randrange(8)
    return bytes(out)


EDGES = (0, 1, 2, 3, 4, 15, 16, 64, 255, 256, 4095, 4096, 8192, 8193, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def check_many(seed: int, count: int) -> None:
    random = Random(seed)
    packed = [message.pack() for message in VALID]
    for _ in range(count):
        check_parser(mutated(random.choice(packed), random))


def test_twenty_thousand_mutations_are_read_or_refused() -> None:
    check_many(1, 20_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=1000, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1))
def test_a_million_mutations_are_read_or_refused(seed: int) -> None:
    check_many(seed, 1000)


def c_numbers(file: str, prefix: str) -> dict[str, int]:
    """The enumerators of a C header whose names begin with `prefix`, without it."""
    return {name: int(n) for name, n in re.findall(rf"\b{prefix}(\w+) = (\d+)", (SHARED / file).read_text())}


@pytest.mark.parametrize(
    ("file", "prefix", "python"),
    [
        ("gst_exchange.h", "GSX_EFFECT_", Effect),
        ("gst_exchange.h", "GSX_OUTPUT_", Output),
        ("gst_exchange_wire.h", "GSX_", ResultFlag),
    ],
)
def test_the_c_client_counts_alike(file: str, prefix: str, python: type[IntEnum]) -> None:
    numbers = c_numbers(file, prefix)
    assert {member.name: numbers[member.name] for member in python} == {m.name: m.value for m in python}


def test_the_c_client_knows_the_same_messages_settings_formats_and_limits() -> None:
    public, wire = c_numbers("gst_exchange.h", "GSX_"), c_numbers("gst_exchange_wire.h", "GSX_")
    assert {key.name: public[key.name] for key in SettingKey} == {key.name: key.value for key in SettingKey}
    assert {key.name: public[key.name] for key in PixelFormat} == {key.name: key.value for key in PixelFormat}
    wire["SETTINGS"] = wire["SETTINGS_TYPE"]
    assert {key.name: wire[key.name] for key in MessageType} == {key.name: key.value for key in MessageType}
    defined = dict(re.findall(r"#define GSX_(\w+) (\d+)u", (SHARED / "gst_exchange.h").read_text()))
    defined |= dict(re.findall(r"#define GSX_(\w+) (\d+)u", (SHARED / "gst_exchange_wire.h").read_text()))
    assert int(defined["SLOTS"]) == messages.SLOTS
    assert (int(defined["MIN_SIDE"]), int(defined["MAX_SIDE"])) == (MIN_SIDE, MAX_SIDE)
    assert int(defined["MAX_PATH"]) == MAX_PATH_BYTES
    assert int(defined["VERSION"]) == messages.VERSION
