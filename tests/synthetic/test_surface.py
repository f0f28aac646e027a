from collections.abc import Sequence

import numpy as np
import pytest
import torch

from gest_stream.synthetic.capsules import Capsules, Cuff
from gest_stream.synthetic.march import Surface, see_surface


def capsules_of(
    rows: Sequence[Sequence[float]], blend_px: float = 1.0, sleeve: Sequence[int] = (), cuff: Cuff | None = None
) -> Capsules:
    ends = torch.tensor(rows, dtype=torch.float32)
    is_sleeve = torch.tensor([k in sleeve for k in range(len(rows))])
    return Capsules(ends[:, 0:3], ends[:, 3:6], ends[:, 6], ends[:, 7], is_sleeve, blend_px, cuff)


def see(capsules: Capsules, size: tuple[int, int] = (64, 64)) -> Surface:
    maps = torch.eye(3, 4).repeat(capsules.a.shape[0], 1, 1)
    return see_surface(capsules, maps, capsules.window(size), 5.0, 10.0)


def every(capsules: Capsules) -> torch.Tensor:
    return torch.arange(capsules.a.shape[0])[None]


BALL = (32, 32, 0, 32, 32, 0.001, 12, 12)


def test_a_ball_is_seen_as_a_disc_of_its_area_at_its_depth() -> None:
    seen = see(capsules_of([BALL]))
    # a pixel counts in full where its middle is hit, so that the disc is half a pixel wider all around
    assert float(seen.coverage.sum()) == pytest.approx(np.pi * 12.5**2, rel=0.02)
    out = (seen.points[:, :2] - 32).norm(dim=1)
    inner = out < 10
    assert torch.allclose(seen.points[inner, 2], -((144 - out[inner] ** 2) ** 0.5), atol=0.4)


def test_normals_point_out_of_a_ball() -> None:
    seen = see(capsules_of([BALL]))
    outward = torch.nn.functional.normalize(seen.points - torch.tensor([32.0, 32.0, 0.0]), dim=1)
    assert float((seen.normals * outward).sum(1).amin()) > 0.999


def test_distance_to_a_tapered_capsule_is_that_to_its_ends_and_middle() -> None:
    field = capsules_of([(0, 0, 0, 10, 0, 0, 2, 4)]).gather(every(capsules_of([BALL])))
    points = torch.tensor([[[-5.0, 0, 0], [5, 10, 0], [17, 0, 0], [5, 0, 0]]])
    assert field.distance(points)[0].tolist() == pytest.approx([3.0, 7.0, 3.0, -3.0], abs=1e-3)


def test_distance_never_changes_faster_than_the_way_gone() -> None:
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.uniform(0, 60, (9, 6)), rng.uniform(3, 5, (9, 2))], 1)
    capsules = capsules_of(rows.tolist())
    a, b = (torch.tensor(rng.uniform(-20, 80, (1, 2000, 3)), dtype=torch.float32) for _ in range(2))
    field = capsules.gather(every(capsules))
    slope = (field.distance(a) - field.distance(b)).abs() / (a - b).norm(dim=2)
    assert float(slope.amax()) < 1.05  # tapered capsules exceed 1 by their taper


def test_capsules_far_from_a_ray_are_left_out_without_changing_the_distance() -> None:
    rows = [(8 + 12 * k, 10, 0, 8 + 12 * k, 50, 0, 4, 4) for k in range(5)]
    capsules = capsules_of(rows)
    index = capsules.along_rays(torch.tensor([[8.0, 30.0], [200.0, 30.0]]), 4.0)
    assert index[0, 0] == 0 and (index[0] == 5).any() or index.shape[1] < 5
    assert (index[1] == 5).all()
    points = torch.tensor([[[8.0, 30.0, -9.0], [10.0, 20.0, -6.0]]])
    near = capsules.gather(index[:1]).distance(points)
    assert torch.allclose(near, capsules.gather(every(capsules)).distance(points), atol=0.15)


def test_a_smooth_union_fills_the_crease_between_two_balls() -> None:
    rows = [(24, 32, 0, 24, 32, 0.001, 9, 9), (40, 32, 0, 40, 32, 0.001, 9, 9)]
    crease = torch.tensor([[[32.0, 32.0, -5.0]]])
    distances = []
    for blend_px in (0.1, 3.0):
        capsules = capsules_of(rows, blend_px)
        distances.append(float(capsules.gather(every(capsules)).distance(crease)))
    assert distances[1] < distances[0] - 1.0


def test_a_sleeve_ends_at_its_cuff() -> None:
    cuff = Cuff(torch.tensor([0.0, 32.0, 0.0]), torch.tensor([0.0, -1.0, 0.0]))
    arm, sleeve = (32, 8, 0, 32, 60, 0, 6, 6), (32, 8, 0, 32, 60, 0, 10, 10)
    seen = see(capsules_of([arm, sleeve], sleeve=(1,), cuff=cuff))
    above, below = seen.points[:, 1] < 31, seen.points[:, 1] > 33
    assert not seen.on_sleeve[above].any() and seen.on_sleeve[below].all()
    assert float((seen.points[above, 0] - 32).abs().amax()) < 8
    assert float((seen.points[below, 0] - 32).abs().amax()) > 9


def test_gaps_close_where_two_parts_meet() -> None:
    seen = see(capsules_of([(24, 32, 0, 24, 32, 0.001, 9, 9), (41, 32, 0, 41, 32, 0.001, 9, 9)]))
    crease = ((seen.points[:, 0] - 32).abs() < 1.5) & ((seen.points[:, 1] - 32).abs() < 1.5)
    outside = seen.points[:, 0] < 18
    assert float(seen.wide_gap[crease].mean()) < 0.7 * float(seen.wide_gap[outside].mean())
