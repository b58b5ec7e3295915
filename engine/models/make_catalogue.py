"""Writes assets/catalog/backbones.csv from the installed timm and torchvision. Run by hand when their pins change.

    python -m engine.models.make_catalogue

One row an architecture (with timm's default pretrained tag), and one more for each set of weights that torchvision trained, because
torchvision states its accuracy in machine-readable form. No other accuracy is copied: an unstated figure stays empty.
It takes some minutes: every network is built and run without memory, on torch's meta device, to count parameters and features.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from timm.models import get_pretrained_cfg
from timm.models._registry import _model_to_module

__all__ = ["COLUMNS", "main"]

COLUMNS = [
    "name",
    "tag",
    "family",
    "title",
    "params_m",
    "features",
    "input",
    "fixed",
    "mean",
    "std",
    "interpolation",
    "crop",
    "classes",
    "pretraining",
    "licence",
    "hub",
    "accuracy",
    "accuracy_source",
]
_OUT = Path(__file__).resolve().parents[2] / "assets" / "catalog" / "backbones.csv"
_LITE_SOURCE = "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
# name -> (timm's architecture, published top-1). The packaged weights are TensorFlow's: its 'same' padding, hence timm's tf_ twins,
# and its preprocessing (x - 127) / 128. timm's own efficientnet_lite0..2 are left out: two networks of one name would confuse.
_PACKAGED = {
    "efficientnet_lite0": ("tf_efficientnet_lite0", 75.1),
    "efficientnet_lite1": ("tf_efficientnet_lite1", 76.7),
    "efficientnet_lite2": ("tf_efficientnet_lite2", 77.6),
}
_DATASETS = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "laion2b": "LAION-2B",
    "laion2B": "LAION-2B",
    "laion400m": "LAION-400M",
    "laiona": "LAION-A",
    "openai": "OpenAI CLIP data",
    "webli": "WebLI",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DFNDR-2B",
    "datacompxl": "DataComp-1B",
    "datacomp1b": "DataComp-1B",
    "datacompdr": "DataCompDR-1B",
    "merged2b": "Merged-2B",
    "metaclip": "MetaCLIP data",
    "yfcc100m": "YFCC-100M",
    "yfcc15m": "YFCC-15M",
    "ig1b": "Instagram-1B",
    "swag": "Instagram-3.6B",
    "sa1b": "SA-1B",
    "jft300m": "JFT-300M",
    "jft": "JFT-300M",
    "ns": "JFT-300M",
    "seer": "Instagram pictures",
    "m30m": "Merged-30M",
    "m38m": "Merged-38M",
    "r160": "",
    "inat21": "iNaturalist 2021",
    "cc12m": "CC-12M",
    "coco": "COCO",
    "sam": "SA-1B",
    "mae": "",
    "dino": "",
}
_WORDS = {
    "vit": "ViT",
    "deit": "DeiT",
    "deit3": "DeiT III",
    "beit": "BEiT",
    "beitv2": "BEiT v2",
    "convnext": "ConvNeXt",
    "convnextv2": "ConvNeXt V2",
    "efficientnet": "EfficientNet",
    "efficientnetv2": "EfficientNetV2",
    "mobilenetv1": "MobileNetV1",
    "mobilenetv2": "MobileNetV2",
    "mobilenetv3": "MobileNetV3",
    "mobilenetv4": "MobileNetV4",
    "mobilenetv5": "MobileNetV5",
    "resnet": "ResNet",
    "resnext": "ResNeXt",
    "regnetx": "RegNetX",
    "regnety": "RegNetY",
    "densenet": "DenseNet",
    "vgg": "VGG",
    "swin": "Swin",
    "swinv2": "Swin V2",
    "dinov2": "DINOv2",
    "dinov3": "DINOv3",
    "clip": "CLIP",
    "siglip": "SigLIP",
    "tf": "TF",
    "tv": "torchvision",
    "bn": "with batch norm",
    "dm": "DeepMind",
    "nfnet": "NFNet",
    "eva02": "EVA-02",
    "eva": "EVA",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViT V2",
    "ghostnet": "GhostNet",
    "fastvit": "FastViT",
    "repvit": "RepViT",
    "hrnet": "HRNet",
    "maxvit": "MaxViT",
    "coatnet": "CoAtNet",
    "xcit": "XCiT",
    "resnetv2": "ResNetV2",
    "resnetrs": "ResNet-RS",
    "wide": "Wide",
    "ese": "eSE",
    "dla": "DLA",
    "dpn": "DPN",
    "efficientvit": "EfficientViT",
    "efficientformer": "EfficientFormer",
    "hgnet": "HGNet",
    "hgnetv2": "HGNetV2",
    "mnasnet": "MNASNet",
    "seresnet": "SE-ResNet",
    "seresnext": "SE-ResNeXt",
    "tiny": "tiny",
    "lite0": "Lite0",
    "lite1": "Lite1",
    "lite2": "Lite2",
    "lite3": "Lite3",
    "lite4": "Lite4",
    "aimv2": "AIMv2",
    "caformer": "CAFormer",
    "convformer": "ConvFormer",
    "coat": "CoaT",
    "botnet": "BoTNet",
    "davit": "DaViT",
    "crossvit": "CrossViT",
    "tresnet": "TResNet",
    "skresnet": "SK-ResNet",
    "ecaresnet": "ECA-ResNet",
    "repvgg": "RepVGG",
    "mobileone": "MobileOne",
    "poolformer": "PoolFormer",
    "fbnetv3": "FBNetV3",
    "lcnet": "LCNet",
    "small": "small",
    "base": "base",
    "large": "large",
    "huge": "huge",
    "volo": "VOLO",
    "pvt": "PVT",
    "levit": "LeViT",
    "cait": "CaiT",
    "mvitv2": "MViTv2",
    "rexnet": "ReXNet",
    "vitamin": "ViTamin",
    "hiera": "Hiera",
    "mambaout": "MambaOut",
    "mixnet": "MixNet",
    "inception": "Inception",
    "xception": "Xception",
    "rw": "(Wightman)",
    "distilled": "distilled",
    "legacy": "legacy",
    "test": "Test",
}


def _title(architecture: str, image_size: int) -> str:
    words = []
    for part in architecture.split("_"):
        known = re.match(r"([a-z]+[a-z0-9]*?)(\d+[a-z]*)?$", part)
        if part in _WORDS:
            words.append(_WORDS[part])
        elif match := re.fullmatch(r"patch(\d+)", part):
            words.append(f"patch {match[1]}")
        elif known and known[1] in _WORDS and known[2]:
            words.append(f"{_WORDS[known[1]]}-{known[2]}")
        else:
            words.append(part if part[:1].isdigit() or len(part) <= 2 or words else part.capitalize())
    if words[-1] == str(image_size):
        words[-1] = f"· {image_size} px"
    title = " ".join(words)
    return title[:1].upper() + title[1:]


def _pretraining(tag: str) -> str:
    found = [_DATASETS[part] for part in re.split(r"[_.]", tag) if _DATASETS.get(part)]
    return " then ".join(dict.fromkeys(found))


def _torchvision_accuracies() -> tuple[dict[str, tuple[float, str]], dict[str, tuple[float, str]]]:
    """Return {weights URL: (top-1, source)} and {model name: the same} for models with one set of weights only."""
    by_url: dict[str, tuple[float, str]] = {}
    by_name: dict[str, tuple[float, str]] = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        stated = []
        for weights in torchvision.models.get_model_weights(name):
            accuracy = weights.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
            if accuracy is not None and accuracy == accuracy:
                by_url[weights.url] = (accuracy, weights.meta["recipe"])
                stated.append((accuracy, weights.meta["recipe"]))
        if len(stated) == 1:
            by_name[name] = stated[0]
    return by_url, by_name


def _measure(architecture: str, input_size: tuple[int, ...]) -> tuple[float, int]:
    """Return (parameters in millions without a classifier, length of the pooled feature vector)."""
    with torch.device("meta"):
        model = timm.create_model(architecture, pretrained=False, num_classes=0).eval()
        parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        features_BF = model(torch.zeros(2, *input_size))
    if features_BF.ndim != 2 or features_BF.shape[0] != 2:
        raise ValueError(f"pooled features have shape {tuple(features_BF.shape)}")
    return parameters, int(features_BF.shape[1])


def _row(name: str, architecture: str, tag: str, accuracies: tuple[dict[str, Any], dict[str, Any]], measured: tuple[float, int]) -> dict[str, Any]:
    config = get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    assert config is not None
    parameters, features = measured
    accuracy, source = accuracies[0].get(str(config.url), (None, ""))
    if accuracy is None and tag == "tv_in1k":
        accuracy, source = accuracies[1].get(architecture, (None, ""))
    mean, std = config.mean, config.std
    if name in _PACKAGED:
        accuracy, source = _PACKAGED[name][1], _LITE_SOURCE
        mean, std = (round(127 / 255, 6),) * 3, (round(128 / 255, 6),) * 3
    return {
        "name": name,
        "tag": tag,
        "family": _model_to_module[architecture],
        "title": _title(name.split(".")[0], config.input_size[-1])
        + (f" ({tag.split('_')[0].replace('tv2', 'torchvision recipe 2').replace('tv', 'torchvision')})" if "." in name else ""),
        "params_m": f"{parameters:.2f}",
        "features": features,
        "input": config.input_size[-1],
        "fixed": int(bool(config.fixed_input_size)),
        "mean": " ".join(f"{value:g}" for value in mean),
        "std": " ".join(f"{value:g}" for value in std),
        "interpolation": config.interpolation,
        "crop": f"{min(config.crop_pct, 1):g}",  # volo_d*_448 say 1.15: a frame of padding round the picture
        "classes": config.num_classes if tag else 0,
        "pretraining": _pretraining(tag),
        "licence": ("not stated" if config.license in (None, "", "unknown") else config.license) if tag else "",
        # weights kept outside timm's own account come under file names we cannot know: those rows start from scratch
        "hub": config.hf_hub_id if tag and (config.hf_hub_id or "").startswith("timm/") else "",
        "accuracy": "" if accuracy is None else f"{accuracy:g}",
        "accuracy_source": source,
    }


def main() -> None:
    """Write the catalogue; say on the log what was left out and why."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    accuracies = _torchvision_accuracies()
    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        architecture, _, tag = full.partition(".")
        tags.setdefault(architecture, []).append(tag)
    friendly = {architecture: name for name, (architecture, _) in _PACKAGED.items()}
    rows = []
    for architecture in timm.list_models():
        if architecture in _PACKAGED:
            continue
        config = get_pretrained_cfg(architecture)
        assert config is not None
        default = (config.tag or "") if architecture in tags else ""
        name = friendly.get(architecture, architecture)
        try:
            measured = _measure(architecture, config.input_size)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, AssertionError) as error:
            logging.warning("left out %s: %s", architecture, str(error).splitlines()[0][:160])
            continue
        rows.append(_row(name, architecture, default, accuracies, measured))
        for tag in tags.get(architecture, []):
            extra = _row(f"{architecture}.{tag}", architecture, tag, accuracies, measured)
            if tag != default and extra["accuracy"]:
                rows.append(extra)
    with _OUT.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["name"]))


if __name__ == "__main__":
    main()
