from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gest_stream.errors import DeviceError
from gest_stream.synthetic import ClipConfig, ClipRenderer, Event, EventKind, SyntheticFrame, preset, render_clip
from gest_stream.synthetic.appearance import Band, Glove, Look, make_light, make_look
from gest_stream.synthetic.motion import HandState
from gest_stream.synthetic.pose import GESTURES
from gest_stream.synthetic.render import HAND, HandRenderer, Perspective, RenderedHand
from gest_stream.synthetic.skeleton import make_shape
from gest_stream.types import Handedness

SMALL = (320, 240)
QUIET = ClipConfig(size=SMALL, frames=120, seed=4, noise=0.0, shutter=0.0)


def at_middle(config: ClipConfig) -> SyntheticFrame:
    """The frame in the middle of the config's only event."""
    event = config.events[0]
    return ClipRenderer(config).frame(round((event.start_s + event.duration_s / 2) * config.rate))


def render_hand(handedness: Handedness, turned: bool = False, gesture: str = "open") -> RenderedHand:
    rng = np.random.default_rng(1)
    renderer = HandRenderer(make_shape(rng), make_look(rng, 4.0), handedness, make_light(rng, (4.0,)), SMALL, "cpu")
    sign = -1.0 if turned else 1.0
    rotation = np.diag([sign, 1.0, sign]).astype(np.float32)
    return renderer.render(HandState(GESTURES[gesture], rotation, np.array([160, 130], np.float32), 7.0))


def test_equal_configs_render_equal_clips_and_other_seeds_others() -> None:
    config = replace(QUIET, frames=2, noise=2.0)
    one, same, other = (list(render_clip(c)) for c in (config, config, replace(config, seed=5)))
    for a, b in zip(one, same, strict=True):
        assert np.array_equal(a.frame.image, b.frame.image)
        assert np.array_equal(a.hands[0].landmarks.points_px, b.hands[0].landmarks.points_px)
        assert np.array_equal(a.hands[1].hand_mask.full(), b.hands[1].hand_mask.full())
    assert not np.array_equal(one[0].frame.image, other[0].frame.image)


def test_frames_do_not_depend_on_the_order_they_are_rendered_in() -> None:
    config = replace(QUIET, noise=2.0)
    forward, backward = ClipRenderer(config), ClipRenderer(config)
    wanted = {seq: forward.frame(seq).frame.image for seq in (3, 40)}
    for seq in (40, 3):
        assert np.array_equal(backward.frame(seq).frame.image, wanted[seq])


def test_rendering_leaves_the_global_random_numbers_and_torch_threads_alone() -> None:
    numpy_state, torch_state = np.random.get_state(legacy=True), torch.get_rng_state()
    threads = torch.get_num_threads()
    next(render_clip(QUIET))
    assert str(np.random.get_state(legacy=True)) == str(numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.get_num_threads() == threads


def test_pts_counts_frames_and_truth_names_every_hand() -> None:
    frames = list(render_clip(replace(QUIET, frames=3, rate=25)))
    assert [(f.frame.pts, f.frame.seq) for f in frames] == [(0, 0), (1, 1), (2, 2)]
    assert all(f.frame.time_base.denominator == 25 and f.frame.size == SMALL for f in frames)
    assert [[h.index for h in f.hands] for f in frames] == [[0, 1]] * 3
    assert [h.handedness for h in frames[0].hands] == [Handedness.RIGHT, Handedness.LEFT]


def test_masks_are_the_pixels_that_differ_from_the_background() -> None:
    scene = ClipRenderer(QUIET)
    for seq in (0, 30, 60, 90):
        rendered = scene.frame(seq)
        difference = np.abs(rendered.frame.image.astype(int) - scene.background()).max(axis=2)
        alphas = [mask.full() for hand in rendered.hands for mask in (hand.hand_mask, hand.arm_mask)]
        covered = np.maximum.reduce(alphas)
        assert (difference[covered == 0] <= 1).all()
        assert (difference[covered >= 128] > 3).mean() > 0.985  # skin may have the background's very colour


def test_masks_of_hands_and_forearms_are_disjoint_while_hands_cross() -> None:
    crossing = ClipRenderer(replace(QUIET, events=(Event(EventKind.CROSS, 1.0, 2.0),)))
    for seq in (42, 45, 48):
        rendered = crossing.frame(seq)
        inside = [m.full() >= 128 for hand in rendered.hands for m in (hand.hand_mask, hand.arm_mask)]
        assert np.add.reduce(np.array(inside, int)).max() == 1


def test_the_nearer_hand_takes_pixels_from_the_farther_one_only() -> None:
    crossing = ClipRenderer(replace(QUIET, events=(Event(EventKind.CROSS, 1.0, 2.0),)))
    frames = [crossing.frame(seq) for seq in range(38, 56, 3)]
    assert min(f.hands[1].shown for f in frames) < 0.8
    assert all(f.hands[0].shown == pytest.approx(1.0) for f in frames)


@pytest.mark.parametrize("seed", range(6))
def test_visible_landmarks_lie_on_their_hand(seed: int) -> None:
    scene = ClipRenderer(replace(QUIET, seed=seed))
    on, total = 0, 0
    for seq in (0, 45, 90):
        for hand in scene.frame(seq).hands:
            own = np.maximum(hand.hand_mask.full(), hand.arm_mask.full()) >= 128
            columns, rows = np.floor(hand.landmarks.points_xy_px[hand.visible]).astype(int).T
            on, total = on + int(own[rows, columns].sum()), total + columns.size
    assert total > 60
    assert on == total


def test_an_object_in_front_takes_mask_pixels_and_landmarks() -> None:
    hidden = at_middle(replace(QUIET, events=(Event(EventKind.OCCLUDE, 1.0, 1.2, hand=1),))).hands[1]
    free = ClipRenderer(QUIET).frame(48).hands[1]
    assert free.unoccluded and free.shown == pytest.approx(1.0)
    assert hidden.hand_mask.area_px < 0.6 * free.hand_mask.area_px
    assert hidden.shown < 0.6 and not hidden.unoccluded
    assert hidden.visible.sum() < free.visible.sum()
    assert np.array_equal(hidden.landmarks.points_px, free.landmarks.points_px)


def test_a_hand_that_left_has_no_mask_no_visible_landmark_and_returns() -> None:
    scene = ClipRenderer(replace(QUIET, events=(Event(EventKind.LEAVE, 1.0, 2.0, hand=0),)))
    before, away, after = (scene.frame(seq).hands[0] for seq in (28, 60, 92))
    assert before.present and after.present and before.inside_frame and after.inside_frame
    assert not away.present and not away.inside_frame and away.shown == 0.0
    assert not away.visible.any()
    assert away.landmarks.points_xy_px[:, 1].min() > SMALL[1]
    assert scene.frame(60).hands[1].present


def test_a_swipe_blurs_the_picture_and_the_mask_follows_the_blur() -> None:
    config = replace(QUIET, shutter=0.6, events=(Event(EventKind.SWIPE, 1.0, 1.0),))
    scene = ClipRenderer(config)
    blurred = max((scene.frame(seq).hands[0] for seq in range(40, 52, 2)), key=lambda hand: hand.blur_px)
    soft = (blurred.hand_mask.crop > 16) & (blurred.hand_mask.crop < 240)
    sharp = ClipRenderer(QUIET).frame(45).hands[0].hand_mask.crop
    assert blurred.blur_px > 3
    assert soft.mean() > 3 * ((sharp > 16) & (sharp < 240)).mean()


def test_left_and_right_are_mirror_images_with_the_thumb_on_the_right_side() -> None:
    right, left = render_hand(Handedness.RIGHT), render_hand(Handedness.LEFT)
    mirrored = left.landmarks_px.copy()
    mirrored[:, 0] = 320 - mirrored[:, 0]
    assert np.allclose(right.landmarks_px, mirrored, atol=1e-3)
    # a person's right hand, palm to the camera and fingers up, has its thumb on the right of the picture
    assert right.landmarks_px[4, 0] > right.landmarks_px[20, 0] + 50
    back = render_hand(Handedness.RIGHT, turned=True)
    assert back.landmarks_px[4, 0] < back.landmarks_px[20, 0] - 50


def test_nails_are_seen_on_the_back_of_the_hand_only() -> None:
    palm, back = render_hand(Handedness.RIGHT), render_hand(Handedness.RIGHT, turned=True)
    assert palm.layer.parts[HAND].sum() == pytest.approx(back.layer.parts[HAND].sum(), rel=0.03)

    def at_tip(hand: RenderedHand) -> NDArray[np.float32]:
        x, y = (np.floor(hand.landmarks_px[12, :2]) - hand.layer.origin_xy_px).astype(int)
        return np.asarray(hand.layer.colour[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1)))

    assert np.abs(at_tip(palm) - at_tip(back)).max() > 8


def test_fingertips_of_a_fist_are_hidden_from_behind_and_its_knuckles_from_the_front() -> None:
    front, behind = (render_hand(Handedness.RIGHT, turned, "fist") for turned in (False, True))
    assert not behind.unhidden[[8, 12, 16, 20]].any()
    assert behind.unhidden[[5, 9, 13, 17]].all()
    assert front.unhidden[[8, 12, 16]].all()
    assert not front.unhidden[[9, 13]].any()


def test_depth_of_landmarks_is_relative_to_the_wrist_and_smaller_is_nearer() -> None:
    config = replace(QUIET, frames=1)
    hand = next(render_clip(config)).hands[0]
    assert hand.landmarks.points_px[0, 2] == 0.0
    palm, back = (render_hand(Handedness.RIGHT, turned, "fist").landmarks_px for turned in (False, True))
    assert palm[8, 2] < palm[0, 2] < back[8, 2]


def test_forearm_and_sleeve_are_not_hand() -> None:
    hand = next(render_clip(replace(QUIET, frames=1))).hands[0]
    rows = np.flatnonzero((hand.hand_mask.full() >= 128).any(axis=1))
    wrist_y = hand.landmarks.points_xy_px[0, 1]
    assert rows.max() <= wrist_y + 0.25 * hand.size_px
    assert hand.arm_mask.box_xyxy_px is not None and hand.arm_mask.box_xyxy_px[3] == SMALL[1]


def test_clips_are_rendered_lazily() -> None:
    frames = render_clip(replace(preset("demo"), frames=1_000_000, size=SMALL))
    assert next(iter(frames)).frame.seq == 0


def test_an_absent_device_is_named() -> None:
    with pytest.raises(DeviceError, match="rendering on 'cuda:99'"):
        render_clip(QUIET, "cuda:99")


@pytest.mark.gpu
def test_a_gpu_renders_the_same_truth() -> None:
    on_cpu, on_gpu = (next(render_clip(replace(QUIET, frames=1), device)) for device in ("cpu", "cuda"))
    for a, b in zip(on_cpu.hands, on_gpu.hands, strict=True):
        assert a.hand_mask.iou(b.hand_mask) > 0.995
    assert np.abs(on_cpu.frame.image.astype(int) - on_gpu.frame.image).mean() < 0.5


def test_in_perspective_what_is_near_is_larger_and_the_palm_stays() -> None:
    rng = np.random.default_rng(1)
    parts = make_shape(rng), make_look(rng, 4.0), Handedness.RIGHT, make_light(rng, (4.0,)), SMALL, "cpu"
    tilt = np.radians(60.0)  # fingers toward the camera
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]], np.float32)
    state = HandState(GESTURES["flat"], about_x, np.array([160, 120], np.float32), 5.0)
    flat = HandRenderer(*parts).render(state)
    near = HandRenderer(*parts, Perspective((160.0, 120.0), 30 * 5.0)).render(state)
    far = HandRenderer(*parts, Perspective((160.0, 120.0), 1e7)).render(state)
    np.testing.assert_allclose(far.landmarks_px, flat.landmarks_px, atol=0.01)

    def width(hand: RenderedHand, a: int, b: int) -> float:
        return float(np.linalg.norm(hand.landmarks_px[a, :2] - hand.landmarks_px[b, :2]))

    assert width(near, 8, 20) > 1.2 * width(flat, 8, 20)
    assert near.layer.parts[HAND].sum() > 1.1 * flat.layer.parts[HAND].sum()
    columns, rows = np.floor(near.landmarks_px[[8, 12, 16, 9], :2]).astype(int).T
    (left, top) = near.layer.origin_xy_px
    assert (near.layer.parts[HAND][rows - top, columns - left] > 0.9).all()


def test_gloves_and_rings_colour_their_part_of_the_hand() -> None:
    rng = np.random.default_rng(1)
    shape, look, light = make_shape(rng), replace(make_look(rng, 4.0), sleeve=None), make_light(rng, (4.0,))
    green = np.array([0.0, 0.6, 0.0], np.float32)
    state = HandState(GESTURES["open"], np.eye(3, dtype=np.float32), np.array([160, 130], np.float32), 7.0)

    def greens(look: Look) -> tuple[int, int]:
        layer = HandRenderer(shape, look, Handedness.RIGHT, light, SMALL, "cpu").render(state).layer
        green_px = layer.colour[..., 1] > 2.0 * layer.colour[..., 0].clip(10)
        return int((green_px & (layer.parts[HAND] > 0.9)).sum()), int((layer.parts[HAND] > 0.9).sum())

    found, whole = greens(replace(look, glove=Glove(green, green, 3.0)))
    assert found > 0.95 * whole
    axis = shape.joints[14] - shape.joints[13]
    ring = Band(shape.joints[13] + 0.6 * axis, axis / np.linalg.norm(axis), 1.5, 0.35, green, shiny=False)
    found, whole = greens(replace(look, bands=(ring,)))
    assert 0.002 * whole < found < 0.05 * whole
