import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gest_stream.errors import SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks import jsonl
from gest_stream.sinks.jsonl import JsonlSink, result_record
from gest_stream.sinks.mask_rle import decode_rle, encode_rle
from gest_stream.testing import hull_mask, make_frame, make_landmarks
from gest_stream.types import (
    Frame,
    FrameResult,
    Handedness,
    HandLandmarks,
    HandMask,
    MaskSource,
    Reinitialisation,
    ReinitialisedBy,
    Track,
    TrackState,
)

INFO = SourceInfo("test", False, (64, 48), Fraction(1, 30))
SCHEMA = json.loads((Path(jsonl.__file__).parent / "result_v1.schema.json").read_text(encoding="utf-8"))


def result_of(*tracks: Track, seq: int = 0) -> FrameResult:
    return FrameResult(make_frame(seq), tracks, {"hands": 12.34567, "total": 20.0})


def full_track() -> Track:
    flat = make_landmarks((30, 24), 30)
    world = (flat.points_px / np.float32(1000)).astype(np.float32)
    hand = HandLandmarks(flat.points_px, world, Handedness.RIGHT, 0.9)
    return Track(
        3,
        TrackState.TRACKED,
        Handedness.RIGHT,
        0.98765,
        hand,
        hull_mask(hand, (64, 48)),
        Reinitialisation(ReinitialisedBy.LANDMARKS, 3, 0.9),
    )


def bare_track() -> Track:
    return Track(4, TrackState.LOST, Handedness.UNKNOWN, 0.0, None, None, None, 7)


def write_all(path: Path, *results: FrameResult) -> None:
    async def scenario() -> None:
        sink = JsonlSink(path)
        await sink.open(INFO, None)
        try:
            for result in results:
                await sink.write(result)
        finally:
            await sink.close()

    asyncio.run(scenario())


def conforms(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """What of `value` breaks `schema`: the part of JSON Schema that the file uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        tries = [conforms(value, option, where) for option in schema["anyOf"]]
        return [] if any(not problems for problems in tries) else tries[0]
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    problems = []
    if "type" in schema and (not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool)):
        return [f"{where}: not {schema['type']}: {value!r}"]
    if "const" in schema and value != schema["const"]:
        problems.append(f"{where}: not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        problems.append(f"{where}: {value!r} not in {schema['enum']}")
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        problems.append(f"{where}: {value} out of range")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            problems.append(f"{where}: {len(value)} items")
        problems += [
            p for i, item in enumerate(value) for p in conforms(item, schema.get("items", {}), f"{where}[{i}]")
        ]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        problems += [f"{where}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            rule = known.get(name, schema.get("additionalProperties", {}))
            problems += [f"{where}: unknown {name}"] if rule is False else conforms(item, rule, f"{where}.{name}")
    return problems


def test_every_result_is_one_line_in_order(tmp_path: Path) -> None:
    write_all(tmp_path / "out.jsonl", *(result_of(seq=seq) for seq in (0, 1, 5)))
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 5]


def test_a_record_holds_exactly_the_documented_values() -> None:
    record = result_record(result_of(full_track(), bare_track(), seq=4))
    full, bare = record.pop("tracks")
    assert record == {
        "v": 1,
        "seq": 4,
        "pts": 4,
        "time_base": "1/30",
        "time_s": 0.133333,
        "size": [64, 48],
        "timings_ms": {"hands": 12.346, "total": 20.0},
    }
    assert (full["id"], full["state"], full["handedness"], full["score"]) == (3, "tracked", "right", 0.9877)
    assert np.allclose(full["landmarks_px"], make_landmarks((30, 24), 30).points_px, atol=0.0051)
    assert np.allclose(full["landmarks_world_m"], make_landmarks((30, 24), 30).points_px / 1000, atol=6e-6)
    assert (full["mask_score"], full["mask_source"], full["reinitialised_by"]) == (1.0, "scripted", "landmarks")
    assert (full["reinitialised_seq"], full["reinitialised_score"]) == (3, 0.9)
    assert full["mask_age_ms"] == 0.0
    assert bare == {
        "id": 4,
        "state": "lost",
        "handedness": "unknown",
        "score": 0.0,
        **dict.fromkeys(
            [
                *("box_xyxy_px", "landmarks_px", "landmarks_world_m"),
                *("mask_rle", "mask_score", "mask_source", "mask_age_ms"),
                *("reinitialised_by", "reinitialised_seq", "reinitialised_score"),
            ]
        ),
    }


def test_a_mask_comes_back_from_its_run_lengths_pixel_for_pixel() -> None:
    track = full_track()
    assert track.mask is not None
    record = json.loads(json.dumps(result_record(result_of(track))))
    assert np.array_equal(decode_rle(record["tracks"][0]["mask_rle"]), track.mask.full() >= 128)


def test_an_empty_mask_is_run_lengths_of_nothing() -> None:
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), (64, 48), 0.5, MaskSource.SCRIPTED)
    record = result_record(result_of(Track(1, TrackState.TRACKED, Handedness.LEFT, 0.5, None, empty)))
    assert not decode_rle(record["tracks"][0]["mask_rle"]).any()
    assert record["tracks"][0]["box_xyxy_px"] is None


def test_a_carried_mask_tells_how_old_it_is() -> None:
    mask = HandMask(np.full((2, 2), 255, np.uint8), (0, 0), (64, 48), 0.5, MaskSource.CARRIED, age_ms=1e3 / 3)
    record = result_record(result_of(Track(1, TrackState.TRACKED, Handedness.LEFT, 0.5, None, mask)))
    assert (record["tracks"][0]["mask_source"], record["tracks"][0]["mask_age_ms"]) == ("carried", 333.333)


def test_soft_edges_count_as_hand_from_half_on() -> None:
    crop = np.array([[0, 127, 128, 255]], np.uint8)
    mask = HandMask(crop, (10, 5), (64, 48), 0.5, MaskSource.SCRIPTED)
    rle = encode_rle(mask)
    assert np.argwhere(decode_rle(rle)).tolist() == [[5, 12], [5, 13]]


def test_records_conform_to_the_published_schema(tmp_path: Path) -> None:
    write_all(tmp_path / "out.jsonl", result_of(full_track(), bare_track()), result_of(seq=1))
    for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines():
        assert conforms(json.loads(line), SCHEMA) == []


def test_the_schema_refuses_what_is_not_documented() -> None:
    record = result_record(result_of(full_track()))
    assert conforms({**record, "v": 2}, SCHEMA) == ["$.v: not 1"]
    assert conforms({**record, "extra": 1}, SCHEMA) == ["$: unknown extra"]
    assert conforms({name: value for name, value in record.items() if name != "pts"}, SCHEMA) == ["$: no pts"]
    short = {**record["tracks"][0], "landmarks_px": [[0.0, 0.0, 0.0]]}
    assert conforms({**record, "tracks": [short]}, SCHEMA) == ["$.tracks[0].landmarks_px: 1 items"]


def test_lines_can_be_read_while_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    async def scenario() -> None:
        sink = JsonlSink(path)
        await sink.open(INFO, None)
        for seq in range(3):
            await sink.write(result_of(seq=seq))
            assert len(path.read_text(encoding="utf-8").splitlines()) == seq + 1
        await sink.close()

    asyncio.run(scenario())


def test_time_bases_stay_fractions() -> None:
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 90_001, Fraction(1001, 30_000), 0)
    record = result_record(FrameResult(frame))
    assert (record["pts"], record["time_base"]) == (90_001, "1001/30000")


def test_a_full_disk_is_a_sink_error_with_the_remedy(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    with pytest.raises(SinkError, match=r"out\.jsonl: cannot write: No space left on device; the disk is full; free"):
        write_all(tmp_path / "out.jsonl", result_of())


def test_the_remains_of_an_older_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n" * 100, encoding="utf-8")
    write_all(path, result_of())
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1
