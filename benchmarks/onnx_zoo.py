"""Door three on real architectures: does each exported network import, agree, learn everywhere, and go out again?

Each architecture (torchvision, timm, transformers where installed; random weights, BatchNorm with random statistics) is
exported in several ways: the older exporter and the newer, fixed and free batch, opsets 11 to 21, float32 and float16.
Every file goes through the same door as a user's: checked in a child process, imported, cut, run, trained a step, written back.
Files that no exporter of ours made (those that travel inside packages) can be added with --files.

    python -m benchmarks.onnx_zoo [--limit N] [--only NAME] [--ways ts,free,dynamo,half] [--json FILE] [--files FILE ...]

Columns: the path (trainable or floor), the largest difference from ONNX Runtime relative to the largest output, whether a
gradient reaches every weight, whether one optimiser step lowers the loss, whether the file written back agrees with torch.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from timm.layers import set_fused_attn
from torch import nn

TORCHVISION = [
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "squeezenet1_0",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "regnet_y_400mf",
    "regnet_x_400mf",
    "convnext_tiny",
    "vit_b_32",
    "swin_t",
    "swin_v2_t",
    "maxvit_t",
]
TORCHVISION_DENSE = ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
TIMM = [
    "resnet10t",
    "resnet26d",
    "resnetv2_50",
    "seresnet50",
    "ecaresnet26t",
    "res2net50_26w_4s",
    "gernet_s",
    "regnetz_b16",
    "tf_efficientnet_lite0",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "mobilenetv4_conv_small",
    "fbnetc_100",
    "mixnet_s",
    "ghostnet_100",
    "ghostnetv2_100",
    "hardcorenas_a",
    "tinynet_e",
    "rexnet_100",
    "dla34",
    "dpn68",
    "hrnet_w18_small",
    "selecsls42",
    "vovnet39a",
    "darknet53",
    "cspresnet50",
    "repvgg_a0",
    "mobileone_s0",
    "convnext_atto",
    "convnextv2_atto",
    "convmixer_768_32",
    "nfnet_f0",
    "inception_next_tiny",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "deit3_small_patch16_224",
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "xcit_nano_12_p16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224",
    "pvt_v2_b0",
    "twins_pcpvt_small",
    "poolformer_s12",
    "poolformerv2_s12",
    "caformer_s18",
    "efficientformer_l1",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "edgenext_xx_small",
    "coat_lite_tiny",
    "crossvit_tiny_240",
    "levit_128s",
    "mixer_s32_224",
    "gmlp_s16_224",
    "resmlp_12_224",
    "visformer_tiny",
    "volo_d1_224",
    "focalnet_tiny_srf",
    "davit_tiny",
    "fastvit_t8",
    "repvit_m0_9",
    "tiny_vit_5m_224",
    "efficientvit_b0",
    "hgnet_tiny",
    "starnet_s1",
    "eva02_tiny_patch14_224",
]
TEXT_AND_AUDIO = {
    "bert": ("BertModel", "BertConfig"),
    "distilbert": ("DistilBertModel", "DistilBertConfig"),
    "roberta": ("RobertaModel", "RobertaConfig"),
    "electra": ("ElectraModel", "ElectraConfig"),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config"),
    "hubert": ("HubertModel", "HubertConfig"),
}
"""Encoders of transformers, built small from their configuration; none is downloaded."""

FIXED_SIZES = {
    "alexnet": 224,
    "inception_v3": 299,
    "maxvit_t": 224,
    "crossvit_tiny_240": 240,
    "nfnet_f0": 96,
    "squeezenet1_0": 96,
    "squeezenet1_1": 96,
    "levit_128s": 224,
}
WAYS = ("ts", "free", "dynamo", "half")
OPSETS = {"ts": (11, 13, 14, 16, 17), "free": (12, 15, 17, 18, 20), "dynamo": (18, 20, 21, 23), "half": (13, 17)}
PARITY, PARITY_HALF, REEXPORT = 1e-4, 5e-3, 1e-3
"""Files of half precision compute with three digits themselves."""


@dataclass
class Row:
    """What became of one file."""

    name: str
    way: str
    opset: int = 0
    path: str = ""
    parity: float | None = None
    parity_prepared: float | None = None
    gradient: bool | None = None
    lowers: bool | None = None
    again: float | None = None
    made_for: str = ""
    cut: str = ""
    seconds: float = 0.0
    fault: str = ""


class OneOutput(nn.Module):
    """Gives out the one tensor a dense torchvision or transformers model is used for."""

    def __init__(self, inner: nn.Module, key: str) -> None:
        super().__init__()
        self.inner, self.key = inner, key

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the tensor."""
        result = self.inner(*inputs)
        return result[self.key] if isinstance(result, dict) else result[0]


def architectures() -> Iterator[tuple[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]]]:
    """Yield names and what builds each network with its example input."""
    import torchvision

    for name in TORCHVISION:
        extra = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        yield (
            f"torchvision/{name}",
            lambda name=name, extra=extra: (getattr(torchvision.models, name)(weights=None, **extra), pictures(name, 96 if "vit" not in name else 224)),
        )
    for name in TORCHVISION_DENSE:
        make = getattr(torchvision.models.segmentation, name)
        yield f"torchvision/{name}", lambda make=make, name=name: (OneOutput(make(weights=None, weights_backbone=None), "out"), pictures(name, 96))
    yield from ((f"timm/{name}", lambda name=name: of_timm(name)) for name in TIMM)
    if importlib.util.find_spec("transformers"):
        yield from ((f"transformers/{name}", lambda name=name: of_transformers(name)) for name in TEXT_AND_AUDIO)


def pictures(name: str, size: int) -> tuple[torch.Tensor, ...]:
    """Return a random picture of the size a network takes."""
    size = FIXED_SIZES.get(name, size)
    return (torch.randn(1, 3, size, size),)


def of_timm(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Build a timm network and its example."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size
    size = config.input_size[-1] if fixed and config is not None else FIXED_SIZES.get(name, 96)
    return timm.create_model(name, num_classes=50), (torch.randn(1, 3, size, size),)


def of_transformers(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Build a small encoder of transformers and its example."""
    import transformers

    model, config = (getattr(transformers, part) for part in TEXT_AND_AUDIO[name])
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "attn_implementation": "eager"}
    if name == "distilbert":
        small = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "attn_implementation": "eager"}
    network = OneOutput(model(config(**small)), "last_hidden_state")
    if name in ("wav2vec2", "hubert"):
        return network, (torch.randn(1, 8000),)
    return network, (torch.randint(3, 1000, (1, 16)), torch.ones(1, 16, dtype=torch.int64))


def shake(module: nn.Module) -> None:
    """Give normalisation layers values a trained network could have."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for value, low, high in ((part.weight, 0.5, 1.5), (part.running_var, 0.5, 1.5), (part.bias, -0.1, 0.1), (part.running_mean, -0.1, 0.1)):
                if value is not None:
                    nn.init.uniform_(value, low, high)
    for weight in module.parameters():  # scales that start at nothing let no gradient through, here or natively
        if not bool(weight.detach().any()):
            nn.init.normal_(weight, std=0.02)


def export(module: nn.Module, inputs: tuple[torch.Tensor, ...], way: str, opset: int, path: Path) -> None:
    """Write one file."""
    module = module.eval()
    names = [f"input{i}" if len(inputs) > 1 else "input" for i in range(len(inputs))]
    if way == "half":
        module, inputs = module.half(), tuple(item.half() if item.is_floating_point() else item for item in inputs)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        if way == "dynamo":
            twice = tuple(torch.cat([item, item]) for item in inputs)
            shapes = tuple({0: torch.export.Dim("batch")} for _ in inputs)
            if isinstance(module, OneOutput):
                shapes = (shapes,)
            torch.onnx.export(module, twice, path, dynamo=True, external_data=False, opset_version=opset, dynamic_shapes=shapes, verbose=False)
            return
        axes = {name: {0: "batch"} for name in [*names, "output"]} if way == "free" else None
        torch.onnx.export(module, inputs, path, dynamo=False, opset_version=opset, input_names=names, output_names=["output"], dynamic_axes=axes)


def examine(path: Path, row: Row) -> None:
    """Bring a file through the door and note what held."""
    from engine.models.own_onnx.library import import_file

    found = import_file(path)
    row.path = "trainable" if found.about["trainable"] else "floor"
    row.opset = row.opset or found.about["opset"]
    row.made_for, row.cut = found.about["made_for"], found.about["cut"]["value"]
    row.fault = "; ".join(found.about["why"])
    parity = found.about["parity"]
    row.parity, row.parity_prepared = (
        max((rest["max_rel"] or 0.0 for rest in parity[key].values()), default=None) if key in parity else None for key in ("file", "prepared")
    )
    if row.path == "trainable":
        (learn_pictures if found.about["port"] else learn_anything)(found, row)


def stepped(module: nn.Module, loss_of: Callable[[], torch.Tensor], row: Row) -> None:
    """Send a gradient back, note whom it misses, and take one small step."""
    weights = [item for item in module.parameters() if item.requires_grad]
    before = loss_of()
    before.backward()
    missed = [name for name, item in module.named_parameters() if item.grad is None or not bool(item.grad.abs().sum() > 0)]
    row.gradient = not missed
    if missed:
        row.fault = f"no gradient at {len(missed)} of {len(weights)}: {', '.join(missed[:4])}"
    square = sum(float(item.grad.double().square().sum()) for item in weights if item.grad is not None)
    start = [item.detach().clone() for item in weights]
    row.lowers = False
    for share in (0.02, 0.002, 0.0002):
        with torch.no_grad():
            for item, old in zip(weights, start, strict=True):
                item.copy_(old if item.grad is None else old - share * float(before) / max(square, 1e-30) * item.grad)
            row.lowers = row.lowers or bool(loss_of() < before)
        if row.lowers:
            return


def still(module: nn.Module) -> None:
    """Training mode without chance, so that the loss before and after a step can be compared."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.eval()


def learn_pictures(found: Any, row: Row) -> None:
    """One step with a new head, then write the network back and compare."""
    import onnxruntime

    from engine.models.own_onnx.library import load_backbone, reference
    from engine.models.own_onnx.write import write

    torch.manual_seed(0)
    backbone = load_backbone(reference(found, found.cut()))
    head = nn.Linear(backbone.num_features, 4)
    module = nn.Sequential(backbone, head)
    size = found.preparation.image_size
    images, labels = torch.randn(4, 3, size, size), torch.arange(4)
    still(module)
    stepped(module, lambda: nn.functional.cross_entropy(module(images), labels), row)
    module.eval()
    proto = write(backbone, head, found.preparation.mean, found.preparation.std, size)
    pixels = torch.rand(2, 3, size, size) * 255
    mean, std = (255 * torch.tensor(value).view(1, 3, 1, 1) for value in (found.preparation.mean, found.preparation.std))
    with torch.no_grad():
        expected = module((pixels - mean) / std).softmax(1).numpy()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    answer = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"images": pixels.numpy()})[0]
    row.again = float(np.abs(answer - expected).max())


def learn_anything(found: Any, row: Row) -> None:
    """The same for networks that take no pictures: the loss is on whatever they give out."""
    import onnxruntime

    from engine.models.own_onnx.graph import ImportedGraph
    from engine.models.own_onnx.interface import example, inputs_of
    from engine.models.own_onnx.operators.types import from_numpy

    model = found.model
    module = ImportedGraph(model)
    arrays = example(inputs_of(model), batch=2)
    inputs = [from_numpy(item) for item in arrays]
    torch.manual_seed(0)

    def loss_of() -> torch.Tensor:
        result = module(*inputs)
        first = result[0] if isinstance(result, tuple) else result
        generator = torch.Generator().manual_seed(0)
        return (first - torch.randn(first.shape, generator=generator)).square().mean()

    still(module)
    stepped(module, loss_of, row)
    module.eval()
    values = module.stored_values()
    for item in model.graph.initializer:
        if item.name in values and values[item.name].is_floating_point():
            item.CopyFrom(numpy_helper.from_array(values[item.name].detach().numpy(), item.name))
    with torch.no_grad():
        result = module(*inputs)
    expected = (result[0] if isinstance(result, tuple) else result).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answer = session.run(None, {port.name: array for port, array in zip(session.get_inputs(), arrays, strict=True)})[0]
    row.again = float(np.abs(answer - expected).max() / max(np.abs(expected).max(), 1e-12))


def attempt(row: Row, make: Callable[[Path], None]) -> Row:
    """Make a file, examine it in a workspace of its own, and keep whatever went wrong as the row's fault."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAFT_HOME"] = str(Path(folder) / "home")
        file = Path(folder) / "upload" / "model.onnx"
        file.parent.mkdir()
        try:
            make(file)
        except Exception as error:  # noqa: BLE001 (an exporter's failure is none of ours, and is told apart)
            row.path, row.fault = "not exported", f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
            return row
        began = time.perf_counter()
        try:
            examine(file, row)
        except Exception as error:  # noqa: BLE001 (whatever happens is the result here)
            row.path, row.fault = row.path or "refused", f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
    row.seconds = round(time.perf_counter() - began, 1)
    gc.collect()
    return row


def packaged() -> list[Path]:
    """ONNX files that travel inside installed packages, the light graphs of onnx's own tests among them."""
    roots = {
        Path(spec.submodule_search_locations[0])
        for name in ("onnx", "rapidocr_onnxruntime", "rembg", "silero_vad")
        if (spec := importlib.util.find_spec(name)) and spec.submodule_search_locations
    }
    return sorted(
        file for root in roots for pattern in ("backend/test/data/light/*.onnx", "models/*.onnx", "*.onnx", "data/*.onnx") for file in root.glob(pattern)
    )


def shown(row: Row) -> str:
    """Format a row."""

    def mark(value: bool | None) -> str:
        return "-" if value is None else "yes" if value else "NO"

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.0e}"

    best = min((value for value in (row.parity, row.parity_prepared) if value is not None), default=None)
    figures = f"{number(best):>8}{mark(row.gradient):>6}{mark(row.lowers):>6}{number(row.again):>8}{row.seconds:7.1f}"
    return f"{row.name:42}{row.way:8}{row.opset:5}  {row.path:13}{figures}  {row.made_for:15}{row.fault[:140]}".rstrip()


def agrees(row: Row) -> bool:
    """Tell whether the imported network gives ONNX Runtime's answers."""
    best = min((value for value in (row.parity, row.parity_prepared) if value is not None), default=1.0)
    return best <= (PARITY_HALF if row.way == "half" else PARITY)


def totals(rows: list[Row]) -> Iterator[str]:
    """Sum up."""
    files = [row for row in rows if row.path != "not exported"]
    count = max(len(files), 1)
    trainable = [row for row in files if row.path == "trainable"]
    imported = [row for row in files if row.path in ("trainable", "floor")]
    yield f"{len({row.name for row in files})} networks, {len(files)} files ({len(rows) - len(files)} more their exporter could not write)"
    yield f"imported: {len(imported)} ({100 * len(imported) / count:.1f}%), on the trainable path: {len(trainable)} ({100 * len(trainable) / count:.1f}%)"
    for words, held in (
        (f"agree with ONNX Runtime to {PARITY:g} (half precision: {PARITY_HALF:g})", agrees),
        ("gradient reaches every weight", lambda row: row.gradient),
        ("one step lowers the loss", lambda row: row.lowers),
        (f"written back, agree to {REEXPORT:g}", lambda row: row.again is not None and row.again <= REEXPORT),
    ):
        yield f"{words}: {sum(bool(held(row)) for row in trainable)} of {len(trainable)}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="at most so many architectures")
    parser.add_argument("--only", default="", help="architectures with this in their name")
    parser.add_argument("--ways", default=",".join(WAYS), help="how to export: " + ", ".join(WAYS))
    parser.add_argument("--json", type=Path, help="append each result here, and skip those that are in it already")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="ONNX files to examine as well")
    parser.add_argument("--packaged", action="store_true", help="also the files inside installed packages")
    parser.add_argument("--none", action="store_true", help="no architectures, only files")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.backends.mha.set_fastpath_enabled(False)  # the older exporter does not know the fused form
    set_fused_attn(False)
    rows = [Row(**json.loads(line)) for line in arguments.json.read_text().splitlines()] if arguments.json and arguments.json.exists() else []
    done = {(row.name, row.way) for row in rows}

    def keep(row: Row) -> None:
        rows.append(row)
        print(shown(row), flush=True)
        if arguments.json:
            with arguments.json.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    print(f"{'network':42}{'way':8}{'opset':>5}  {'path':13}{'parity':>8}{'grad':>6}{'step':>6}{'again':>8}{'s':>7}")
    chosen = [] if arguments.none else [item for item in architectures() if arguments.only in item[0]]
    for index, (name, build) in enumerate(chosen[: arguments.limit or None]):
        for way in arguments.ways.split(","):
            if (name, way) in done:
                continue
            opset = OPSETS[way][index % len(OPSETS[way])]

            def make(file: Path, build: Any = build, way: str = way, opset: int = opset) -> None:
                module, inputs = build()
                shake(module)
                try:
                    export(module, inputs, way, opset, file)
                except Exception:  # noqa: BLE001 (an operator the exporter knows only in its newest opset)
                    module, inputs = build()
                    shake(module)
                    export(module, inputs, way, max(OPSETS["free"]), file)

            keep(attempt(Row(name, way, opset), make))
    for file in [*arguments.files, *(packaged() if arguments.packaged else [])]:
        if (file.name, "file") not in done:
            keep(attempt(Row(file.name, "file"), lambda target, file=file: shutil.copyfile(file, target)))
    print("\n" + "\n".join(totals(rows)))


if __name__ == "__main__":
    main()
