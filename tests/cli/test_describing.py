"""Exports for other tools, as a user asks for them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import mlcroissant
import pytest
import spdx_python_model
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from prov.model import ProvDocument

from tests.reports.building import Building
from tests.reports.judging import MINE, OWN, make

Call = Callable[..., object]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three samples, and `small`, which learned them."""
    path = tmp_path / "corpus.duckdb"
    building = Building(path)
    building.train("small", make(building, OWN, MINE, count=3))
    building.corpus.close()
    return path


@pytest.mark.parametrize(
    ("words", "about"),
    [
        pytest.param(("spdx",), "the kept samples", id="spdx-of-samples"),
        pytest.param(("spdx", "--student", "small"), "the student small", id="spdx-of-a-student"),
        pytest.param(("cyclonedx",), "the student small", id="cyclonedx-of-the-only-student"),
        pytest.param(("prov", "--student", "small"), "the student small", id="prov-of-a-student"),
    ],
)
def test_a_description_is_written_that_its_library_reads(
    synthkd: Call, corpus: Path, tmp_path: Path, words: tuple[str, ...], about: str
) -> None:
    out = tmp_path / "out" / "described.json"

    said = synthkd("export", "--corpus", corpus, "--out", out, "--format", *words)

    assert (said.code, said.err) == (0, "")
    assert said.out == f"{out}: {about}\n"
    text = out.read_text()
    if words[0] == "spdx":
        spdx_python_model.load(out)
    elif words[0] == "cyclonedx":
        assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    else:
        assert ProvDocument.deserialize(content=text, format="json").get_records()


def test_a_sample_is_found_by_how_its_id_begins(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    found = synthkd("sql", corpus, "SELECT min(sample_id) AS key FROM samples", "--json")
    key = json.loads(found.out)[0]["key"]

    said = synthkd(
        "export", "--corpus", corpus, "--format", "prov", "--sample", key[:8],
        "--out", tmp_path / "s.json",
    )  # fmt: skip

    assert said.out.endswith(f"the sample {key}\n")


def test_croissant_is_a_folder_that_describes_itself(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"

    said = synthkd("export", "--corpus", corpus, "--format", "croissant", "--out", out)

    assert said.out == f"{out}: 3 samples\n"
    assert {"README.md", "croissant.json", "data"} <= {path.name for path in out.iterdir()}
    rows = mlcroissant.Dataset(jsonld=out / "croissant.json").records("samples")
    assert len([*rows]) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("prov", "--sample", "no-such"), "there is no sample", id="no-such-sample"),
        pytest.param(("spdx", "--student", "tall"), "knows no student", id="no-such-student"),
        pytest.param(("spdx", "--sample", "a"), "is for --format prov", id="a-sample-for-spdx"),
        pytest.param(("jsonl", "--student", "small"), "are for --format", id="rows-of-a-student"),
        pytest.param(("prov", "--all"), "holds none", id="all-of-no-samples"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    synthkd: Call, corpus: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    out = tmp_path / "x.json"

    said = synthkd("export", "--corpus", corpus, "--out", out, "--format", *words)

    assert said.code == 2
    assert told in said.err
    assert not out.exists()


@pytest.mark.parametrize("form", ["croissant", "spdx", "cyclonedx", "prov"])
def test_an_empty_corpus_says_so(synthkd: Call, tmp_path: Path, form: str) -> None:
    building = Building(tmp_path / "empty.duckdb")
    building.corpus.close()
    out = tmp_path / "x"

    said = synthkd("export", "--corpus", tmp_path / "empty.duckdb", "--format", form, "--out", out)

    assert said.code == 2
    assert "Traceback" not in said.err
    told = {"spdx": "nothing to describe", "croissant": "nothing to export"}
    assert told.get(form, "no student yet") in said.err
    assert not (out / "croissant.json").exists()


@pytest.mark.parametrize("form", ["croissant", "spdx", "cyclonedx", "prov"])
def test_what_is_no_corpus_says_so(synthkd: Call, tmp_path: Path, form: str) -> None:
    (tmp_path / "notes.duckdb").write_text("no database")

    said = synthkd(
        "export", "--corpus", tmp_path / "notes.duckdb", "--format", form, "--out", tmp_path / "x"
    )

    assert said.code == 2
    assert "Traceback" not in said.err
    assert "notes.duckdb" in said.err


LIBRARIES = {
    "croissant": "mlcroissant",
    "spdx": "spdx_python_model.bindings",
    "cyclonedx": "cyclonedx.model",
    "prov": "prov.model",
}


@pytest.mark.parametrize("form", LIBRARIES)
def test_without_its_library_the_extra_is_named(
    synthkd: Call, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    for module in [name for name in sys.modules if name.startswith("synthkd.reports.exports.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, LIBRARIES[form], None)

    said = synthkd("export", "--corpus", corpus, "--format", form, "--out", tmp_path / "x")

    assert said.code == 2
    assert "pip install 'synthkd[exports]'" in said.err
    assert not (tmp_path / "x").exists()


def test_rows_that_are_replaced_are_no_longer_described(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    export = ("export", "--corpus", corpus, "--out", tmp_path / "d", "--format")
    synthkd(*export, "croissant")

    said = synthkd(*export, "datasets")

    assert said.code == 0
    assert not (tmp_path / "d" / "croissant.json").exists()


def test_several_students_have_to_be_told_apart(synthkd: Call, tmp_path: Path) -> None:
    building = Building(tmp_path / "c.duckdb")
    ids = make(building, OWN, MINE, count=1)
    building.train("one", ids)
    building.train("two", ids)
    building.corpus.close()

    said = synthkd(
        "export", "--corpus", tmp_path / "c.duckdb", "--format", "prov", "--out", tmp_path / "x"
    )

    assert said.code == 2
    assert "one student (--student NAME) or one sample (--sample ID)" in said.err
    assert "one, two" in said.err
