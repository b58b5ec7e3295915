"""A hub on this machine that hands out one finished detector, tiny and real: transformers' RT-DETR v2 with random weights, saved as its makers save theirs."""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

KEY, REPOSITORY = "coco_rtdetr_v2_s", "PekingU/rtdetr_v2_r18vd"
CLASSES = ("person", "dog", "cat", "car")

_SAVE = f"""
import sys, torch
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

torch.manual_seed(7)
backbone = RTDetrResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic", out_features=["stage2", "stage3", "stage4"])
names = dict(enumerate({CLASSES}))
config = RTDetrV2Config(
    backbone_config=backbone, encoder_in_channels=[16, 24, 32], d_model=32, encoder_hidden_dim=32, encoder_ffn_dim=32, decoder_ffn_dim=32,
    encoder_attention_heads=2, decoder_attention_heads=2, decoder_layers=2, num_queries=100, decoder_in_channels=[32] * 3, num_denoising=10,
    id2label=names, label2id={{name: place for place, name in names.items()}},
)
model = RTDetrV2ForObjectDetection(config)
for weights in model.parameters():  # as they start, hardly anything comes out of the backbone, and every place looks the same
    if weights.dim() > 1:
        torch.nn.init.xavier_uniform_(weights)
model.save_pretrained(sys.argv[1])
"""


def save(folder: Path) -> Path:
    """Save the detector; in a process of its own, so that page tests keep free of torch."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _SAVE, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


class Hub(http.server.ThreadingHTTPServer):
    """As the hub does it: small files with git's checksum at once, large ones by a redirect that states their sha256."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.cut_after, self.ranges = folder, 0, []  # type: ignore[var-annotated]
        self.altered = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None: ...

    def _answer(self, *, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        content = (self.server.folder / name).read_bytes()
        if name.endswith(".safetensors") and "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/cdn/{name}")
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
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
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("published"))


@pytest.fixture
def detector_hub(detector: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(detector)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("GRAFT_HUB", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
