"""Files of YAML: what cannot be read is told in a sentence."""

from pathlib import Path

import pytest

from synthkd.documents import parse, read_text, to_plain
from synthkd.errors import ConfigError


def test_a_file_that_is_not_there_is_told_with_what_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be read as terms: No such file"):
        read_text(tmp_path / "nothing.yaml", "terms")


def test_a_file_that_is_no_text_is_told_without_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "picture.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match="it is not UTF-8 text; save it as such") as caught:
        read_text(path, "waivers")

    assert "0xff" not in str(caught.value)


def test_words_are_read_as_yaml_1_2_reads_them() -> None:
    assert to_plain(parse("a: no\nb: 1e-4\nc: [on, NO]\n", "x.yaml")) == {
        "a": "no", "b": 1e-4, "c": ["on", "NO"],
    }  # fmt: skip
