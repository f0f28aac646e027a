import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gest_stream.training.labels import IGNORE
from gest_stream.training.targets import class_shares, decoder_loss


def shares_of(labels: np.ndarray, with_forearm: bool = True, forearm_labelled: bool = True) -> np.ndarray:
    return class_shares(
        labels.astype(np.uint8), (labels.shape[1] // 2, labels.shape[0] // 2), with_forearm, forearm_labelled
    )


LABELS = np.array([[0, 1, 1, 1], [0, 2, 1, 1], [IGNORE, IGNORE, 0, 0], [IGNORE, IGNORE, 0, IGNORE]])


def test_a_cell_holds_the_share_of_every_class() -> None:
    background, hand, forearm, no_hand = shares_of(LABELS) / 255
    assert background == pytest.approx(np.array([[0.5, 0], [0, 0.75]]), abs=0.01)
    assert hand == pytest.approx(np.array([[0.25, 1], [0, 0]]), abs=0.01)
    assert forearm == pytest.approx(np.array([[0.25, 0], [0, 0]]), abs=0.01)
    assert not no_hand.any()


def test_without_forearm_labels_background_is_only_no_hand() -> None:
    background, hand, forearm, no_hand = shares_of(np.where(LABELS == 2, 0, LABELS), forearm_labelled=False) / 255
    assert not background.any() and not forearm.any()
    assert no_hand == pytest.approx(np.array([[0.75, 0], [0, 0.75]]), abs=0.01)
    assert hand == pytest.approx(np.array([[0.25, 1], [0, 0]]), abs=0.01)


def test_a_network_of_hands_alone_takes_forearms_for_background() -> None:
    background, hand, no_hand = shares_of(LABELS, with_forearm=False) / 255
    assert background[0, 0] == pytest.approx(0.75, abs=0.01) and hand[0, 0] == pytest.approx(0.25, abs=0.01)
    assert not no_hand.any()


def test_a_cell_is_as_large_as_the_grid_says() -> None:
    labels = np.zeros((56, 112), np.uint8)
    labels[:, :7] = 1
    shares = class_shares(labels, (32, 16), True, True)
    assert shares.shape == (4, 16, 32)
    assert (shares[1][:, :2] == 255).all() and not shares[1][:, 2:].any()


def as_batch(shares: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(shares)[None].float() / 255


def test_whole_cells_give_torchs_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 3, 4, 6, generator=generator)
    labels = torch.randint(0, 3, (4, 6), generator=generator)
    labels[0, :2] = IGNORE
    shares = class_shares(labels.numpy().astype(np.uint8), (6, 4), True, True)
    expected = F.cross_entropy(logits, labels[None], ignore_index=IGNORE)
    assert decoder_loss(logits, as_batch(shares), dice=0.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_is_not_known_pulls_nowhere() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    decoder_loss(logits, as_batch(shares_of(LABELS)), dice=1.0).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[0, :, 1, 0].any() and logits.grad[0, :, 0, 0].any()


def test_unlabelled_forearms_may_be_called_forearms_but_not_hands() -> None:
    shares = as_batch(shares_of(np.zeros((4, 4)), forearm_labelled=False))
    said = {}
    for channel, name in enumerate(("background", "hand", "forearm")):
        logits = torch.zeros(1, 3, 2, 2)
        logits[:, channel] = 12.0
        said[name] = decoder_loss(logits, shares, dice=0.0).item()
    assert said["background"] < 1e-3 and said["forearm"] < 1e-3 and said["hand"] > 5.0


def test_dice_of_forearms_is_judged_where_they_are_labelled() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 2] = 12.0
    for labelled, expected in ((True, 0.4), (False, 0.0)):
        shares = as_batch(shares_of(np.zeros((4, 4)), forearm_labelled=labelled))
        dice = decoder_loss(logits, shares, 1.0) - decoder_loss(logits, shares, 0.0)
        assert dice.item() == pytest.approx(expected, abs=0.01)


def test_dice_is_nothing_for_the_truth_and_almost_one_for_its_opposite() -> None:
    labels = np.kron(np.array([[1, 0, 0], [1, 1, 2]]), np.ones((2, 2)))
    shares = as_batch(shares_of(labels))
    truth = torch.log(shares[:, :3].clamp(min=1e-6))
    opposite = truth[:, [2, 0, 1]]

    def dice(logits: torch.Tensor) -> float:
        return (decoder_loss(logits, shares, 1.0) - decoder_loss(logits, shares, 0.0)).item()

    assert dice(truth) == pytest.approx(0.0, abs=1e-4)
    assert dice(opposite) > 0.6


def test_a_small_hand_weighs_as_much_as_a_large_one_where_every_picture_counts_for_itself() -> None:
    large, small = np.zeros((32, 32)), np.zeros((32, 32))
    large[:24, :24], small[:4, :4] = 1, 1
    shares = torch.cat([as_batch(shares_of(labels)) for labels in (large, small)])
    found = torch.log(shares[:, :3].clamp(min=1e-6))
    missed = found.clone()
    missed[1] = torch.log(as_batch(shares_of(np.zeros((32, 32))))[0, :3].clamp(min=1e-6))

    def dice(logits: torch.Tensor, each_picture: bool) -> float:
        parts = [decoder_loss(logits, shares, weight, each_picture).item() for weight in (1.0, 0.0)]
        return parts[0] - parts[1]

    assert dice(found, True) == pytest.approx(0.0, abs=1e-3)
    # one of two classes, on one of two pictures; four cells are 0.8 of all, for 1 is added to both sides of the share
    assert dice(missed, True) == pytest.approx(0.8 / 4, abs=1e-3)
    assert dice(missed, False) < 0.02
