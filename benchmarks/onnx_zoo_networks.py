"""The networks door three is tried on: how each is built, from configuration and with random weights, and how it is exported.

Nothing is downloaded. Networks of torchvision and timm take pictures; those of transformers take pictures, text or sound.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["OPSETS", "WAYS", "OneOutput", "architectures", "export", "shake"]

Built = tuple[nn.Module, tuple[torch.Tensor, ...]]

TORCHVISION = [
    "resnet18", "resnet50", "squeezenet1_0", "squeezenet1_1", "densenet121", "googlenet",
    "inception_v3", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x0_5", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t", "maxvit_t",
    "wide_resnet50_2", "resnext50_32x4d", "alexnet", "vgg11_bn",
]  # fmt: skip
TORCHVISION_DENSE = ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
TIMM = [
    "resnet10t", "resnet26d", "resnetv2_50", "seresnet50", "ecaresnet26t", "res2net50_26w_4s", "gernet_s", "regnetz_b16", "tf_efficientnet_lite0",
    "efficientnet_b0", "mobilenetv3_small_100", "mobilenetv4_conv_small", "fbnetc_100", "mixnet_s", "ghostnet_100", "ghostnetv2_100", "hardcorenas_a",
    "tinynet_e", "rexnet_100", "dla34", "dpn68", "hrnet_w18_small", "selecsls42", "vovnet39a", "cspresnet50", "repvgg_a0",
    "mobileone_s0", "convnext_atto", "convnextv2_atto", "inception_next_tiny", "vit_tiny_patch16_224",
    "deit_tiny_patch16_224", "deit3_small_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224",
    "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "pvt_v2_b0", "twins_pcpvt_small", "poolformer_s12", "poolformerv2_s12", "caformer_s18",
    "efficientformer_l1", "mobilevit_xxs", "mobilevitv2_050", "edgenext_xx_small", "coat_lite_tiny", "crossvit_tiny_240", "levit_128s",
    "mixer_s32_224", "gmlp_s16_224", "resmlp_12_224", "visformer_tiny", "volo_d1_224", "focalnet_tiny_srf", "davit_tiny", "fastvit_t8", "repvit_m0_9",
    "tiny_vit_5m_224", "efficientvit_b0", "hgnet_tiny", "starnet_s1", "eva02_tiny_patch14_224",
    "darknet53", "convmixer_768_32", "nfnet_f0", "beit_base_patch16_224",
]  # fmt: skip

_PLAIN: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_LEVELS: dict[str, Any] = {"depths": [1, 1, 2, 1]}
_DISTIL: dict[str, Any] = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}
TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vit": ("ViT", "picture", _PLAIN),
    "deit": ("DeiT", "picture", _PLAIN),
    "dinov2": ("Dinov2", "picture", {**_PLAIN, "image_size": 224, "patch_size": 16}),
    "beit": ("Beit", "picture", _PLAIN),
    "swin": ("Swin", "picture", {"embed_dim": 24, "num_heads": [2, 2, 4, 4], **_LEVELS}),
    "convnext": ("ConvNext", "picture", {"hidden_sizes": [16, 32, 64, 128], **_LEVELS}),
    "convnextv2": ("ConvNextV2", "picture", {"hidden_sizes": [16, 32, 64, 128], **_LEVELS}),
    "resnet": ("ResNet", "picture", {"embedding_size": 16, "hidden_sizes": [32, 64, 64, 128], **_LEVELS}),
    "regnet": ("RegNet", "picture", {"embedding_size": 16, "hidden_sizes": [32, 64, 64, 128], "groups_width": 16, **_LEVELS}),
    "mobilevit": ("MobileViT", "picture", {"hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 64], "image_size": 224}),
    "segformer": ("Segformer", "picture", {"hidden_sizes": [16, 32, 48, 64], "num_attention_heads": [1, 2, 3, 4], **_LEVELS}),
    "clip_vision": ("CLIPVision", "picture", _PLAIN),
    "siglip_vision": ("SiglipVision", "picture", _PLAIN),
    "bert": ("Bert", "text", _PLAIN),
    "roberta": ("Roberta", "text", _PLAIN),
    "electra": ("Electra", "text", {**_PLAIN, "embedding_size": 32}),
    "distilbert": ("DistilBert", "text", _DISTIL),
    "albert": ("Albert", "text", {**_PLAIN, "embedding_size": 32}),
    "mpnet": ("MPNet", "text", _PLAIN),
    "deberta_v2": ("DebertaV2", "text", _PLAIN),
    "modernbert": ("ModernBert", "text", {**_PLAIN, "pad_token_id": 0, "global_attn_every_n_layers": 2}),
    "t5_encoder": ("T5Encoder", "text", {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}),
    "wav2vec2": ("Wav2Vec2", "sound", {**_PLAIN, "conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}),
    "hubert": ("Hubert", "sound", {**_PLAIN, "conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}),
    "wavlm": ("WavLM", "sound", {**_PLAIN, "conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}),
    "data2vec_audio": ("Data2VecAudio", "sound", {**_PLAIN, "conv_dim": [32] * 7, "num_conv_pos_embedding_groups": 4}),
    "whisper_encoder": (
        "Whisper",
        "spectrum",
        {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_layers": 1, "decoder_attention_heads": 4},
    ),
    "ast": ("AST", "patches", _PLAIN),
}
"""Name -> its class in transformers, what it takes, and the small configuration it is built from."""

FIXED_SIZES = {
    "alexnet": 224,
    "vgg11_bn": 224,
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


class OneOutput(nn.Module):
    """Gives out the one tensor a dense torchvision or transformers model is used for."""

    def __init__(self, inner: nn.Module, key: str) -> None:
        super().__init__()
        self.inner, self.key = inner, key

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the tensor."""
        result = self.inner(*inputs)
        return result[self.key] if isinstance(result, dict) else result[0]


def architectures() -> Iterator[tuple[str, Callable[[], Built]]]:
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
    yield from ((f"transformers/{name}", lambda name=name: of_transformers(name)) for name in TRANSFORMERS)


def pictures(name: str, size: int) -> tuple[torch.Tensor, ...]:
    """Return a random picture of the size a network takes."""
    size = FIXED_SIZES.get(name, size)
    return (torch.randn(1, 3, size, size),)


def of_timm(name: str) -> Built:
    """Build a timm network and its example."""
    import timm

    config = timm.models.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size
    size = config.input_size[-1] if fixed and config is not None else FIXED_SIZES.get(name, 96)
    return timm.create_model(name, num_classes=50), (torch.randn(1, 3, size, size),)


def of_transformers(name: str) -> Built:
    """Build a small encoder of transformers and its example: a picture, ids with their mask, sound at 16 kHz, or a spectrum of it."""
    import transformers

    family, takes, small = TRANSFORMERS[name]
    config_family = {"T5Encoder": "T5"}.get(family, family)
    config = getattr(transformers, f"{config_family}Config")(**small, attn_implementation="eager")
    network = getattr(transformers, f"{family}Model")(config)
    if name == "whisper_encoder":
        network = network.encoder
    inputs: dict[str, tuple[torch.Tensor, ...]] = {
        "picture": (torch.randn(1, 3, 224, 224),),
        "text": (torch.randint(3, 1000, (1, 16)), torch.ones(1, 16, dtype=torch.int64)),
        "sound": (torch.randn(1, 8000),),
        "spectrum": (torch.randn(1, 80, 3000),),
        "patches": (torch.randn(1, 1024, 128),),
    }
    return OneOutput(network, "last_hidden_state"), inputs[takes]


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
