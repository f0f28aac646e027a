import pytest
import torch
import torch.nn.functional as F

from gest_stream.training.sam2_loss import LossRules, frame_loss, iou
from gest_stream.training.sam2_tracking import FrameOutput


def answer(logits: torch.Tensor, ious: torch.Tensor, scores: torch.Tensor, from_mask: bool = False) -> FrameOutput:
    return FrameOutput(logits, ious, scores, torch.zeros(len(logits), 1, 16, 16), from_mask)


def square_truth(objects: int) -> torch.Tensor:
    truth = torch.zeros(objects, 16, 16)
    truth[:, 4:12, 4:12] = 1.0
    return truth


def good_logits() -> torch.Tensor:
    logits = torch.full((1, 1, 4, 4), -8.0)
    logits[..., 1:3, 1:3] = 8.0
    return logits


def test_iou_of_logits_and_truth() -> None:
    logits, truth = torch.full((2, 4, 4), -1.0), torch.zeros(2, 4, 4)
    logits[0, :2], truth[0, 1:3] = 1.0, 1.0
    assert iou(logits, truth).tolist() == pytest.approx([4 / 12, 1.0])


def test_an_object_that_cannot_be_seen_or_is_denied_costs_only_its_score() -> None:
    truth, present = square_truth(2), torch.tensor([True, False])
    said = answer(torch.full((2, 3, 4, 4), -5.0), torch.zeros(2, 3), torch.tensor([[-4.0], [4.0]]))
    assert float(frame_loss(said, truth, present)) == pytest.approx(4.018, abs=1e-3)
    assert float(frame_loss(said, truth, torch.zeros_like(present))) == pytest.approx((4.018 + 0.018) / 2, abs=1e-3)


def test_the_candidate_that_fits_best_is_the_one_that_costs() -> None:
    truth, present, good = square_truth(1), torch.tensor([True]), good_logits()
    costs = []
    for logits in (torch.cat([good, -good], 1), torch.cat([-good, -good], 1)):
        ious = iou(F.interpolate(logits, scale_factor=4.0), truth[:, None].expand(-1, 2, -1, -1))
        costs.append(float(frame_loss(answer(logits, ious, torch.tensor([[9.0]])), truth, present)))
    assert costs[0] < 0.5 < 1.5 < costs[1]


def test_void_pixels_cost_nothing() -> None:
    truth, present, scores = square_truth(1), torch.tensor([True]), torch.tensor([[9.0]])
    void = torch.zeros(1, 16, 16, dtype=torch.bool)
    void[:, :, 10:] = True
    wrong = good_logits()
    wrong[..., 3] = 8.0  # four columns of 16, the other two of the void being those that interpolation reaches
    costs = {
        name: float(frame_loss(answer(logits, torch.ones(1, 1), scores), truth, present, where))
        for name, logits, where in (
            ("right", good_logits(), void),
            ("wrong in the void", wrong, void),
            ("wrong", wrong, None),
        )
    }
    assert costs["wrong in the void"] == pytest.approx(costs["right"], abs=1e-4)
    assert costs["wrong"] > costs["right"] + 0.5


def test_every_answer_before_a_click_is_learnt_from_but_not_a_given_mask() -> None:
    logits, ious, scores = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1), torch.zeros(1, 1)
    chosen = torch.zeros(1, 1, 16, 16)
    given = FrameOutput(logits, ious, scores, chosen, True)
    first = FrameOutput(logits, ious, scores, chosen, False, given)
    last = FrameOutput(logits, ious, scores, chosen, False, first)
    assert list(last.answers()) == [last, first]


def test_rules_say_what_is_learnt_from() -> None:
    truth, present, good = square_truth(1), torch.tensor([True]), good_logits()
    said = answer(torch.cat([good, -good], 1), torch.zeros(1, 2), torch.tensor([[2.0]]))

    def cost(rules: LossRules) -> float:
        return float(frame_loss(said, truth, present, rules=rules))

    whole, masks = cost(LossRules()), cost(LossRules(iou=0.0, score=0.0))
    off = float(iou(F.interpolate(said.logits, scale_factor=2.0), truth[:, None, ::2, ::2]).mean())
    assert whole - cost(LossRules(score=0.0)) == pytest.approx(0.127, abs=1e-3)
    assert cost(LossRules(score=0.0)) - masks == pytest.approx(off, abs=0.02)
    bad = answer(-good, torch.zeros(1, 1), torch.tensor([[2.0]]))
    worst = float(frame_loss(bad, truth, present, rules=LossRules(iou=0.0, score=0.0)))
    every = cost(LossRules(every_candidate=True, iou=0.0, score=0.0))
    assert every == pytest.approx((masks + worst) / 2, rel=1e-4) and every > 2 * masks
