"""A model that no hub gives is told at once, against a hub on 127.0.0.1."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from synthkd.errors import ConfigError

pytest.importorskip("huggingface_hub", reason="the training extra is not installed")

from synthkd.hub import find_on_hub

THERE = {"X-Repo-Commit": "1" * 40, "ETag": '"1"', "Content-Length": "2"}
ANSWERS = {
    "/org/there/resolve/main/config.json": (200, THERE),
    "/org/tokenizer/resolve/main/config.json": (404, {"X-Error-Code": "EntryNotFound"}),
    "/org/gated/resolve/main/config.json": (403, {"X-Error-Code": "GatedRepo"}),
    "/org/there/resolve/v9/config.json": (404, {"X-Error-Code": "RevisionNotFound"}),
    "/org/busy/resolve/main/config.json": (503, {}),
}


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        code, headers = ANSWERS.get(self.path, (404, {"X-Error-Code": "RepoNotFound"}))
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def turn_to(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let `server` be the hub; return its address."""
    from huggingface_hub import constants

    url = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    return url


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was downloaded, with a hub in whose place nobody listens."""
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        turn_to(server, monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield turn_to(server, monkeypatch)
        server.shutdown()


@pytest.mark.parametrize("name", ["org/there", "org/tokenizer"])
def test_what_a_hub_has_is_left_to_it(hub: str, name: str) -> None:
    assert find_on_hub(name) is None


@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        pytest.param("org/absent", "main", "has no such model", id="absent"),
        pytest.param("org/gated", "main", "asks for a login", id="gated"),
        pytest.param("org/there", "v9", "has it in no revision 'v9'", id="revision"),
        pytest.param("org/busy", "main", "answered 503", id="busy"),
    ],
)
def test_what_a_hub_has_not_is_told_with_what_to_do(
    hub: str, name: str, revision: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_on_hub(name, revision)

    told = str(caught.value)
    assert told.startswith(f"there is no folder {name!r} here, so it was looked for as a hub id;")
    assert f"{hub} {reason}" in told
    assert "Write the path of a folder" in told


def test_what_can_be_no_hub_id_is_told_without_asking(cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"'org/a b' is no folder here, and no hub id"):
        find_on_hub("org/a b")


def test_a_hub_out_of_reach_is_told_at_once_and_in_one_line(
    cache: Path, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=r"cannot be reached .*not downloaded before") as caught:
        find_on_hub("org/there")

    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_was_downloaded_stands_for_a_hub_out_of_reach(cache: Path) -> None:
    model = cache / "models--org--there"
    folder = model / "snapshots" / "1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs/main").write_text("1")

    assert find_on_hub("org/there") == folder
