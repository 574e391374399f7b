import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synthkd.errors import ConfigError, MissingExtraError
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.tiny import connect


def test_connecting_imports_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys\n"
        "from synthkd.teachers.options import TeacherOptions\n"
        f"teacher = TeacherOptions(model={f'local/{folder}'!r}).connect()\n"
        "print(teacher.endpoint, *[m for m in ('torch', 'transformers') if m in sys.modules])"
    )

    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert printed.stdout.split() == [connect(folder).endpoint]


def test_a_teacher_is_told_by_its_folder(folder: Path) -> None:
    options = TeacherOptions(model=f"local/{folder}", host="agency.example", concurrency=7)

    teacher = options.connect()

    assert teacher.provider == "local"
    assert teacher.model == "random-llama"
    assert teacher.host == "agency.example"
    assert teacher.batch_size == 56, "seven at a time, and more that wait for one to end"
    assert teacher.endpoint.startswith("local:")
    assert connect(folder).host == "localhost"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_other_weights_under_the_same_name_are_another_teacher(
    folder: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("notes")
    same = connect(copy).endpoint
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)

    assert same == connect(folder).endpoint
    assert connect(copy).endpoint != same


def test_a_hub_id_is_left_to_transformers() -> None:
    teacher = TeacherOptions(model="local/nobody-here/nothing@v2").connect()

    assert teacher.endpoint == "local:nobody-here/nothing@v2"
    assert teacher.model == "nobody-here/nothing@v2"


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    options = TeacherOptions(
        model=f"local/{tmp_path}",
        base_url="http://127.0.0.1:1",
        parameters={"temprature": 0.5, "max_tokens": 0, "stop": ["a", ""]},
    )

    with pytest.raises(ConfigError) as caught:
        options.connect()

    told = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 6
    assert "parameters.temprature is nothing a local teacher knows; it knows temperature" in told
    assert "parameters.max_tokens is 0" in told
    assert "parameters.stop" in told
    assert "no config.json" in told
    assert "no *.safetensors weights" in told
    assert "base_url" in told


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*missing"):
        connect(tmp_path / "missing")


def test_choosing_among_tokens_needs_a_temperature(folder: Path) -> None:
    with pytest.raises(ConfigError, match="set a temperature"):
        connect(folder, top_p=0.9)


def test_a_missing_package_names_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(MissingExtraError, match=r"synthkd\[train\]"):
        connect(folder)
