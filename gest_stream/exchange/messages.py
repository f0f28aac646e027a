"""The messages of the frame exchange, version 1: bytes to values and back, as `plugins/PROTOCOL.md` lays them out.

A worker reads what a host sends with `parse`, which checks everything that needs no memory of earlier messages.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final

from gest_stream.errors import InvalidInputError

VERSION: Final = 1
MESSAGE_BYTES: Final = 64
MAX_PATH_BYTES: Final = 4095
MAX_BYTES: Final = MESSAGE_BYTES + MAX_PATH_BYTES
SLOTS: Final = 3

_MAGIC: Final = b"GSFX"
_HEAD: Final = struct.Struct("<4sHH")
_MESSAGE: Final = struct.Struct("<4sHH6IQqQII")
_SETTINGS: Final = struct.Struct("<4sHHI11f8s")
_TOOK_US_LIMIT: Final = 2**32 - 1


class MessageType(IntEnum):
    """What a message says."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    FRAME = 4
    RESULT = 5
    SETTINGS = 6
    BACKGROUND = 7
    PING = 8
    PONG = 9


class ResultFlag(IntFlag):
    """Why a RESULT has no picture."""

    SKIPPED = 1
    """A newer frame came first."""
    FAILED = 2
    """The frame could not be processed."""


class Refusal(IntEnum):
    """Why a worker ends a connection."""

    VERSION = 1
    MESSAGE = 2
    SIZE = 3
    FORMAT = 4
    MEMORY = 5
    SLOT = 6
    SETTING = 7
    BUSY = 8
    FAILED = 9
    USER = 10


class SettingKey(IntEnum):
    """What a host can set."""

    EFFECT = 0
    HANDS = 1
    FEATHER_PX = 2
    SMOOTHING = 3
    MASK_EVERY = 4
    BLUR_PX = 5
    OPACITY = 6
    LANDMARKS = 7
    LABELS = 8
    MATRIX = 9
    FULL_RANGE = 10


class Effect(IntEnum):
    """Values of `SettingKey.EFFECT`."""

    DEFAULT = 0
    """The worker's own."""
    OVERLAY = 1
    CONTOUR = 2
    GREEN = 3
    BLUR = 4
    REPLACE = 5
    TRANSPARENT = 6
    ECHO = 7
    """The frame as it came, without a look at it."""


_RANGES: Final[Mapping[SettingKey, tuple[float, float, bool]]] = {  # low, high, whole numbers only
    SettingKey.EFFECT: (0, max(Effect), True),
    SettingKey.HANDS: (0, 2, True),
    SettingKey.FEATHER_PX: (0, 64, False),
    SettingKey.SMOOTHING: (0, 0.95, False),
    SettingKey.MASK_EVERY: (1, 60, True),
    SettingKey.BLUR_PX: (0.5, 200, False),
    SettingKey.OPACITY: (0, 1, False),
    SettingKey.LANDMARKS: (0, 1, True),
    SettingKey.LABELS: (0, 1, True),
    SettingKey.MATRIX: (0, 2, True),
    SettingKey.FULL_RANGE: (0, 1, True),
}
_KNOWN_SETTINGS: Final = (1 << len(SettingKey)) - 1


class ExchangeError(InvalidInputError):
    """The other side broke a rule of the frame exchange.

    Args:
        message: Which one, and how.
        reason: What it is told.
    """

    def __init__(self, message: str, reason: Refusal) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """Any message but SETTINGS and BACKGROUND, with the protocol's fields: 0 where a type does not use them."""

    type: MessageType
    slot: int = 0
    width: int = 0
    height: int = 0
    stride: int = 0
    format: int = 0
    output: int = 0
    seq: int = 0
    pts: int = 0
    size_bytes: int = 0
    flags: int = 0
    took_us: int = 0

    def pack(self) -> bytes:
        """The message's 64 bytes."""
        picture = (self.slot, self.width, self.height, self.stride, self.format, self.output)
        took_us = min(self.took_us, _TOOK_US_LIMIT)
        return _MESSAGE.pack(
            *(_MAGIC, VERSION, self.type, *picture, self.seq, self.pts, self.size_bytes, self.flags, took_us)
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a host wants, by key; the worker decides about the others."""

    values: Mapping[SettingKey, float] = field(default_factory=lambda: MappingProxyType({}))

    def pack(self) -> bytes:
        """The message's 64 bytes."""
        given = sum(1 << key for key in self.values)
        values = (self.values.get(key, 0.0) for key in SettingKey)
        return _SETTINGS.pack(_MAGIC, VERSION, MessageType.SETTINGS, given, *values, bytes(8))


@dataclass(frozen=True, slots=True)
class Background:
    """The picture file that `replace` shows; "" is the worker's own."""

    path: str

    def pack(self) -> bytes:
        """The message and the path behind it."""
        path = os.fsencode(self.path)
        head = _MESSAGE.pack(_MAGIC, VERSION, MessageType.BACKGROUND, *[0] * 8, len(path), 0, 0)
        return head + path


def parse(data: bytes) -> Message | Settings | Background:
    """Read what a host sent.

    Raises:
        ExchangeError: It is none of the messages that a host may send, or a field is out of its range. Sizes, strides
            and slots of HELLO and FRAME are checked against each other later, by `slots`.
    """
    if len(data) < MESSAGE_BYTES:
        raise ExchangeError(f"a message of {len(data)} bytes; they have {MESSAGE_BYTES}", Refusal.MESSAGE)
    magic, version, number = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ExchangeError(f"a message begins with {magic!r}, not {_MAGIC!r}", Refusal.MESSAGE)
    if version != VERSION:
        raise ExchangeError(f"version {version} of the frame exchange; this worker speaks {VERSION}", Refusal.VERSION)
    if number == MessageType.BACKGROUND:
        return _parse_background(data)
    if len(data) != MESSAGE_BYTES:
        raise ExchangeError(f"message type {number}: {len(data)} bytes; it has {MESSAGE_BYTES}", Refusal.MESSAGE)
    if number == MessageType.SETTINGS:
        return _parse_settings(data)
    _, _, _, *values = _MESSAGE.unpack(data)
    if number == MessageType.HELLO:
        return _checked(Message(MessageType.HELLO, *values), unused=("pts", "flags", "took_us"))
    if number == MessageType.FRAME:
        return _checked(Message(MessageType.FRAME, *values), unused=("flags", "took_us"))
    if number == MessageType.PING:
        picture = ("slot", "width", "height", "stride", "format", "output")
        return _checked(Message(MessageType.PING, *values), unused=(*picture, "pts", "size_bytes", "flags", "took_us"))
    raise ExchangeError(f"message type {number}, which no host sends", Refusal.MESSAGE)


def _checked(message: Message, unused: tuple[str, ...]) -> Message:
    for name in unused:
        if getattr(message, name):
            raise ExchangeError(f"{message.type.name}: {name} is {getattr(message, name)}, not 0", Refusal.MESSAGE)
    if message.type is not MessageType.PING and message.seq == 0:
        raise ExchangeError(f"{message.type.name}: seq is 0; it counts from 1", Refusal.MESSAGE)
    return message


def _parse_settings(data: bytes) -> Settings:
    _, _, _, given, *values, rest = _SETTINGS.unpack(data)
    if given & ~_KNOWN_SETTINGS or rest != bytes(8):
        raise ExchangeError(f"SETTINGS: unknown values are given ({given:#x})", Refusal.SETTING)
    chosen: dict[SettingKey, float] = {}
    for key, value in zip(SettingKey, values, strict=True):
        low, high, whole = _RANGES[key]
        if not given & 1 << key:
            if value != 0 or math.copysign(1, value) < 0:
                raise ExchangeError(f"SETTINGS: {key.name} is {value} but not given", Refusal.SETTING)
            continue
        if not low <= value <= high or (whole and value != int(value)):  # the first is true of NaN too
            raise ExchangeError(f"SETTINGS: {key.name}: expected {low} to {high}, got {value}", Refusal.SETTING)
        chosen[key] = value
    return Settings(MappingProxyType(chosen))


def _parse_background(data: bytes) -> Background:
    _, _, _, *values = _MESSAGE.unpack_from(data)
    head = Message(MessageType.BACKGROUND, *values)
    path = data[MESSAGE_BYTES:]
    if head != Message(MessageType.BACKGROUND, size_bytes=len(path)) or len(path) > MAX_PATH_BYTES:
        raise ExchangeError(f"BACKGROUND: {len(path)} bytes of path, {head.size_bytes} announced", Refusal.MESSAGE)
    text = os.fsdecode(path)  # any bytes but NUL may name a file
    if "\0" in text or (text and not text.startswith("/")):
        raise ExchangeError("BACKGROUND: expected an absolute path without NUL", Refusal.MESSAGE)
    return Background(text)
