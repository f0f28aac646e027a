"""What several rooms' tests share: the real hand model and the real clips, or a reason why not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gest_stream.errors import WeightsError
from gest_stream.models.registry import HAND_LANDMARKER
from gest_stream.models.store import ModelStore


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` need a CUDA device."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Models this small gain nothing from more threads, and wait long for them where others use the cores too."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def hand_model() -> Path:
    """The real hand landmarker, from the user's own cache, where it is fetched to at most once."""
    try:
        return ModelStore().fetch(HAND_LANDMARKER)
    except WeightsError as exc:
        pytest.skip(f"the hand model cannot be had here: {exc}")


@pytest.fixture(scope="session")
def clips_folder() -> Path:
    """The folder of real clips beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "clips"
    if not folder.is_dir():
        pytest.skip("there are no clips in ../shared/clips")
    return folder
