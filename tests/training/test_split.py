from dataclasses import dataclass

import pytest

from gest_stream.training.labels import LabelledImage
from gest_stream.training.split import hash_share, split_indices


@dataclass
class Named:
    """A set of names without pictures."""

    groups: list[str]
    title: str = "named"

    def __len__(self) -> int:
        return len(self.groups)

    def group(self, index: int) -> str:
        return self.groups[index]

    def load(self, index: int) -> LabelledImage:
        raise AssertionError("the split needs no picture")


def test_a_hash_is_the_same_on_every_machine() -> None:
    assert hash_share("clip 0") == pytest.approx(0.0084529, abs=1e-6)


def test_a_group_is_never_split() -> None:
    pictures = Named([f"video {k // 10}" for k in range(400)])
    learnt, kept = split_indices(pictures, 0.25)
    assert sorted(learnt + kept) == list(range(400))
    assert {k // 10 for k in learnt}.isdisjoint({k // 10 for k in kept})


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_about_the_share_is_kept_back(share: float) -> None:
    kept = split_indices(Named([f"picture {k}" for k in range(2000)]), share)[1]
    assert len(kept) == pytest.approx(2000 * share, rel=0.15)


def test_pictures_keep_their_side_when_a_set_grows_or_is_reordered() -> None:
    names = [f"picture {k}" for k in range(100)]
    kept = {names[k] for k in split_indices(Named(names), 0.2)[1]}
    grown = sorted([*names, *(f"another {k}" for k in range(50))])
    assert {grown[k] for k in split_indices(Named(grown), 0.2)[1]} & set(names) == kept


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_both_sides_have_a_group_where_there_are_two(share: float) -> None:
    learnt, kept = split_indices(Named(["a", "b", "b"]), share)
    assert learnt and kept


def test_one_group_is_learnt_from() -> None:
    assert split_indices(Named(["a", "a"]), 0.5) == ([0, 1], [])
