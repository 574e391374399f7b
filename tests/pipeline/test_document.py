from pathlib import Path
from typing import Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthkd.errors import ConfigError
from synthkd.pipeline.document import Document, read_document, read_options, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    words: int = Field(default=3, ge=0)
    country: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: Inner = Inner()
    items: tuple[Inner, ...] = ()
    rate: float = 0.1


def read(tmp_path: Path, text: str, *settings: str) -> Document:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return read_document(path, "p.yaml", settings)


def test_yaml_is_read_as_yaml_1_2(tmp_path: Path) -> None:
    document = read(tmp_path, "a: no\nb: 1e-4\nc: on\nd: 010\ne: 1_000\nf: 12:30:45\ng: 0o17\n")

    assert document.value == {
        "a": "no", "b": 1e-4, "c": "on", "d": 10, "e": 1000, "f": "12:30:45", "g": 15,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "a: 1\na: 2\n", r"p\.yaml:2: this is not YAML: found duplicate key", id="twice"
        ),
        pytest.param("a: [1\nb: 2\n", r"p\.yaml:\d: this is not YAML", id="open-bracket"),
        pytest.param("- 1\n", "p.yaml is not a pipeline", id="a-list"),
        pytest.param("", "p.yaml is not a pipeline", id="empty"),
        pytest.param("a: !!python/object:os.system x\n", "not YAML|not a pipeline|a", id="tag"),
    ],
)
def test_a_file_that_is_no_pipeline_is_told_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(read(tmp_path, text), Outer)


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "nmae: x\n"
        "inner:\n"
        "  words: -1\n"
        "  contry: no\n"
        "items:\n"
        "  - {words: many}\n"
        "rate: .inf\n"
        "extra: 1\n"
    )

    with pytest.raises(ConfigError) as caught:
        validate(read(tmp_path, text), Outer)

    assert str(caught.value).splitlines() == [
        "p.yaml cannot be run:",
        "  p.yaml:1: the pipeline has no 'name'; add it",
        "  p.yaml:1: there is no option 'nmae'; did you mean 'name'?",
        "  p.yaml:3: inner.words is -1; it must be 0 or more",
        "  p.yaml:4: there is no option 'contry' in inner; did you mean 'country'?",
        "  p.yaml:6: items[0].words is 'many'; it must be a whole number",
        "  p.yaml:8: there is no option 'extra'; known: inner, items, name, rate",
    ]


def test_values_set_on_the_command_line_win_and_are_told_by_name(tmp_path: Path) -> None:
    text = "name: x\nitems: [{words: 1}]\n"
    settings = ("inner.words=7", "items[0].words=9", "inner.country=no")

    outer = validate(read(tmp_path, text, *settings), Outer)

    assert (outer.inner.words, outer.items[0].words, outer.inner.country) == (7, 9, "no")
    with pytest.raises(ConfigError, match=r"--set inner\.words: inner\.words is -1"):
        validate(read(tmp_path, text, "inner.words=-1"), Outer)


def test_what_is_wrong_is_said_as_yaml_says_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(read(tmp_path, "name: null\ninner: {words: true}\nitems: []\n"), Outer)

    assert "p.yaml:1: name is null; it must be text" in caught.value.mistakes[0]


def test_what_the_command_line_lacks_is_not_said_of_a_pipeline() -> None:
    with pytest.raises(ConfigError) as caught:
        read_options({"low": 1}, [], Pair)

    assert caught.value.mistakes == ("the command line: it has no 'high'; add --set high=VALUE",)


@pytest.mark.parametrize("setting", ["words", "=1", "name.x.y=1", "items[4].words=1", "items.a=1"])
def test_a_setting_that_leads_nowhere_is_told(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match="these values cannot be set"):
        read(tmp_path, "name: x\nitems: []\n", setting)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no pipeline file nowhere\.yaml"):
        read_document(tmp_path / "nowhere.yaml", "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match="cannot be read as text in UTF-8"):
        read_document(tmp_path / "binary.yaml", "binary.yaml")


class Pair(BaseModel):
    low: int
    high: int

    @model_validator(mode="after")
    def _be_in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("high is less than `low`; write the lower one first")
        return self


class Pairs(Pair):
    first: Pair | None = None


def test_a_mistake_of_several_options_stands_at_the_first_that_it_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(read(tmp_path, "low: 2\nhigh: 1\n"), Pairs)
    assert caught.value.mistakes == (
        "p.yaml:2: high is less than `low`; write the lower one first",
    )

    with pytest.raises(ConfigError) as caught:
        validate(read(tmp_path, "low: 1\nhigh: 1\nfirst:\n  low: 2\n  high: 1\n"), Pairs)
    assert caught.value.mistakes[0].startswith("p.yaml:5: first: high is less")


def test_a_mistake_without_a_place_has_one_colon(tmp_path: Path) -> None:
    document = Document("the command line", {"low": 2, "high": 1}, {(): "the command line"})

    with pytest.raises(ConfigError) as caught:
        validate(document, Pairs)
    assert caught.value.mistakes[0].startswith("the command line: high is less")
