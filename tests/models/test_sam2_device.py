"""Devices and precisions: what is chosen here, and what is said where it cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gest_stream.config import Precision, Sam2Runner
from gest_stream.errors import DeviceError
from gest_stream.models import sam2_device
from gest_stream.models.sam2_device import Compute
from tests.models.sam2_nano import box, click, images, nano_engine, nano_modules

CPU = torch.device("cpu")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "device 'cuda': torch sees 0 CUDA devices; check the driver with nvidia-smi, or use --device cpu"),
        ("cuda:1", "device 'cuda:1': torch sees 0 CUDA devices"),
        ("mps", "device 'mps': torch sees no Apple GPU; use --device cpu"),
    ],
)
def test_an_absent_device_is_an_error_that_names_the_way_out(device: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Compute.choose(device, Precision.AUTO)


def test_a_cuda_index_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceError, match="'cuda:2': torch sees 2 CUDA devices"):
        Compute.choose("cuda:2", Precision.FLOAT32)
    assert Compute.choose("cuda:1", Precision.FLOAT32).device == torch.device("cuda", 1)


@pytest.mark.usefixtures("no_gpu")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    compute = Compute.choose("auto", Precision.FLOAT32)
    assert (compute.device, compute.dtype, compute.is_cuda) == (CPU, torch.float32, False)


def test_auto_prefers_cuda_and_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert Compute.choose("auto", Precision.FLOAT32).device.type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Compute.choose("auto", Precision.FLOAT32).device.type == "cuda"


def test_bfloat16_is_refused_on_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="bfloat16: not supported on mps; use --set sam2.precision=float32"):
        Compute.choose("mps", Precision.BFLOAT16)


@pytest.mark.parametrize(
    ("faster", "native", "dtype"),
    [(True, True, torch.bfloat16), (False, True, torch.float32), (True, False, torch.float32)],
)
def test_auto_precision_on_a_cpu_is_bfloat16_only_where_it_is_native_and_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, faster: bool, native: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(sam2_device, "_bfloat16_is_faster_on_cpu", lambda: faster)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    assert Compute.choose("cpu", Precision.AUTO).dtype is dtype


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_precision_on_cuda_is_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert Compute.choose("cuda", Precision.AUTO).dtype is dtype


@pytest.mark.usefixtures("no_gpu")
def test_the_graph_runner_needs_cuda_and_names_the_others() -> None:
    with pytest.raises(DeviceError, match="runner graph: needs a CUDA device, got cpu; use runner fixed or auto"):
        nano_engine(Sam2Runner.GRAPH)


def test_bfloat16_casts_the_weights_of_products_once_and_leaves_the_rest() -> None:
    modules = Compute(CPU, torch.bfloat16).prepare(nano_modules())
    layer = modules.memory_attention.layers[0]
    assert layer.linear1.weight.dtype is torch.bfloat16
    assert modules.sam_mask_decoder.conv_s0.weight.dtype is torch.bfloat16
    assert {layer.norm1.weight.dtype, modules.no_mem_embed.dtype} == {torch.float32}
    untouched = Compute(CPU, torch.float32).prepare(nano_modules())
    assert {value.dtype for value in untouched.parameters()} == {torch.float32}


def test_bfloat16_autocast_and_inference_mode_end_with_the_context() -> None:
    with Compute(CPU, torch.bfloat16).active():
        assert torch.is_inference_mode_enabled()
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.bfloat16
    assert not torch.is_inference_mode_enabled()
    assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.parametrize("runner", [Sam2Runner.EXACT, Sam2Runner.BATCHED, Sam2Runner.FIXED])
def test_bfloat16_masks_are_float32_masks_to_rounding(runner: Sam2Runner) -> None:
    shares = []
    engines = [nano_engine(runner, precision=precision) for precision in (Precision.FLOAT32, Precision.BFLOAT16)]
    for index, image in enumerate(images(25)):
        prompts = {0: {1: click(30, 30)}, 5: {2: box(50, 10, 90, 50)}}.get(index, {})
        plain, half = (engine.step(engine.encode(image), prompts).decoded for engine in engines)
        assert plain is not None
        assert half is not None
        assert half.logits.dtype is torch.float32
        one, other = plain.logits > 0, half.logits > 0
        union = (one | other).sum()
        assert union > 0
        shares.append(float((one & other).sum() / union))
    assert np.mean(shares) >= 0.9
    assert engines[1].model.modules.memory_encoder.out_proj.weight.dtype is torch.bfloat16
