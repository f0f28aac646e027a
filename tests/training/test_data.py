from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import ConfigError, InvalidInputError
from gest_stream.training.config import DataKind, DataSource, DecoderTraining, Grey
from gest_stream.training.data import TrainingData, prepare_data
from gest_stream.training.progress import Stage, TrainingProgress
from tests.training.conftest import RENDER, Rendered
from tests.training.made_data import folder_source, make_coco, make_egohands, make_folder, small_training, write_image


def prepared(config: DecoderTraining, with_forearm: bool = True) -> TrainingData:
    return prepare_data(config, with_forearm, lambda progress: None)


def kept_names(data: TrainingData) -> set[str]:
    return {pick.part.pictures.group(pick.part.indices[pick.number]) for pick in data.kept_back(0)}


def test_a_share_is_kept_back_and_the_rest_is_learnt_from(tmp_path: Path) -> None:
    config = small_training(tmp_path, [folder_source(make_folder(tmp_path, 40))], val_share=0.25)
    data = prepared(config)
    kept = kept_names(data)
    assert len(data) + len(kept) == 40 and 4 <= len(kept) <= 16
    rng = np.random.default_rng(0)
    drawn = [data.draw(rng) for _ in range(2000)]
    names = {pick.part.pictures.group(pick.part.indices[pick.number]) for pick in drawn}
    assert len(names) == len(data) and names.isdisjoint(kept)


def test_pictures_are_drawn_by_the_weight_of_their_set(tmp_path: Path) -> None:
    heavy = replace(folder_source(make_folder(tmp_path / "a", 10)), weight=3.0)
    config = small_training(tmp_path, [heavy, folder_source(make_folder(tmp_path / "b", 20))])
    data, rng = prepared(config), np.random.default_rng(0)
    drawn = Counter(data.draw(rng).part.pictures.title for _ in range(4000))
    counts = {part.pictures.title: len(part) * part.weight for part in data._learnt}
    for title, weight in counts.items():
        assert drawn[title] / 4000 == pytest.approx(weight / sum(counts.values()), abs=0.03)


def test_pictures_to_measure_with_can_be_given(tmp_path: Path) -> None:
    config = small_training(tmp_path, [folder_source(make_folder(tmp_path / "a", 5))])
    data = prepared(replace(config, val=(folder_source(make_folder(tmp_path / "b", 3)),)))
    assert len(data) == 5 and len(kept_names(data)) == 3


def test_the_pictures_to_measure_with_can_be_limited_and_a_hand_is_among_them(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "val", 10)
    for number in range(9):
        write_image(folder / "masks" / f"picture{number}.png", np.zeros((48, 64), np.uint8))
    config = small_training(tmp_path, [folder_source(make_folder(tmp_path / "a", 5))], val=(folder_source(folder),))
    picks = prepared(config).kept_back(3)
    assert len(picks) == 3 and sum(pick.seen.hand for pick in picks) == 1


def test_every_kind_of_set_can_be_mixed(tmp_path: Path, rendered_hands: Rendered) -> None:
    square = [[11, 21], [31, 21], [31, 41], [11, 41]]
    videos = {name: [{"frame_num": 1, "myleft": square}] for name in "ABC"}
    box = [[2, 3, 9, 3, 9, 7, 2, 7]]
    annotations = [{"image_id": image, "category_id": 1, "segmentation": box} for image in (7, 8)]
    sources = [
        folder_source(make_folder(tmp_path / "folder", 6)),
        DataSource(DataKind.EGOHANDS, make_egohands(tmp_path / "ego", videos)),
        DataSource(DataKind.COCO, make_coco(tmp_path / "coco", annotations)),
        DataSource(DataKind.SYNTHETIC, rendered_hands.root),
    ]
    told: list[TrainingProgress] = []
    data = prepare_data(small_training(tmp_path, sources, render=RENDER), True, told.append)
    labelled = {part.pictures.title.partition(":")[0]: part.forearms_labelled for part in data._learnt}
    assert labelled == {"folder": True, "egohands": False, "coco": False, "synthetic": True}
    last = {one.title: (one.stage, one.done, one.total) for one in told}
    assert set(last.values()) == {(Stage.READING, count, count) for count in (6, 3, 2, 32)}


def test_the_fingerprint_knows_the_pictures_and_not_where_they_lie(tmp_path: Path) -> None:
    prints = [
        prepared(small_training(tmp_path, [folder_source(make_folder(tmp_path / name, count), grey)])).fingerprint()
        for name, count, grey in (("a", 8, Grey.FOREARM), ("b", 8, Grey.FOREARM), ("c", 9, Grey.FOREARM))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_trouble_with_any_picture_shows_at_once(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, 12)
    write_image(folder / "masks" / "picture7.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(InvalidInputError, match=r"picture7\.png: is 4x3 pixels, but .*picture7\.png is 64x48"):
        prepared(small_training(tmp_path, [folder_source(folder)]))


def test_one_clip_alone_leaves_nothing_to_measure_with(tmp_path: Path) -> None:
    folder = make_egohands(tmp_path, {"A": [{"frame_num": k, "myleft": [[1, 1], [9, 1], [9, 9]]} for k in range(3)]})
    config = small_training(tmp_path, [DataSource(DataKind.EGOHANDS, folder)], classes=("hand",))
    with pytest.raises(ConfigError, match="nothing is left to measure with, .* --val KIND:PATH"):
        prepared(config, with_forearm=False)


def test_forearms_that_are_nowhere_are_named_with_the_remedy(tmp_path: Path) -> None:
    config = small_training(tmp_path, [folder_source(make_folder(tmp_path, 8), Grey.IGNORE)])
    with pytest.raises(ConfigError, match=r"no pixel of \d pictures is a forearm; .* --classes hand"):
        prepared(config)
    assert len(prepared(config, with_forearm=False)) > 0


def test_hands_that_are_nowhere_are_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, 8)
    for number in range(8):
        write_image(folder / "masks" / f"picture{number}.png", np.full((48, 64), 128, np.uint8))
    with pytest.raises(ConfigError, match=r"no pixel of \d pictures is a hand; check what the masks' values mean"):
        prepared(small_training(tmp_path, [folder_source(folder)]))


def test_measuring_without_a_hand_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "val", 2)
    for number in range(2):
        write_image(folder / "masks" / f"picture{number}.png", np.zeros((48, 64), np.uint8))
    config = small_training(tmp_path, [folder_source(make_folder(tmp_path, 4))], val=(folder_source(folder),))
    with pytest.raises(ConfigError, match="the 2 pictures to measure with is a hand"):
        prepared(config)
