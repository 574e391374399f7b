"""Croissant: what `mlcroissant` accepts, reads and gives back."""

import json
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from synthkd.pipeline.describing import export_croissant
from synthkd.records import Contribution
from synthkd.reports.exports.croissant import VERSION
from synthkd.rights.table import read_table
from tests.reports.building import PROMPT, Building
from tests.reports.exports.conftest import PRIVATE, Compose
from tests.reports.judging import MINE, make
from tests.reports.test_cards import HOSTILE


def export(building: Building, out: Path, **options: Any) -> mlcroissant.Dataset:
    export_croissant(building.corpus, out, name="support", table=read_table(), **options)
    return mlcroissant.Dataset(jsonld=out / "croissant.json")


def test_a_loader_reads_every_row_with_where_it_is_from(
    full: Building, compose: Compose, tmp_path: Path
) -> None:
    compose()  # selects all

    rows = [*export(full, tmp_path / "d").records("samples")]

    assert len(rows) == 9
    by_source = {row["samples/source"]: row for row in rows}
    row = by_source[b"help"]
    assert row["samples/prompt"] == [
        {
            "samples/prompt/role": b"user",
            "samples/prompt/content": b"a question about help",
        }
    ]
    assert row["samples/completion"][0]["samples/completion/content"].startswith(b"help ")
    assert row["samples/teacher"] == b"openai/meta-llama/Llama-3.1-70B-Instruct"
    assert b"CC-BY-SA-4.0" in row["samples/licenses"]
    assert {row["samples/verdict"] for row in rows} >= {b"deny"}


def test_provenance_comes_back_from_the_library(
    full: Building, compose: Compose, tmp_path: Path
) -> None:
    compose()

    again = export(full, tmp_path / "d").metadata.to_json()

    assert again["conformsTo"] == VERSION
    labels = {each["prov:label"] for each in again["prov:wasDerivedFrom"]}
    assert labels == {"Help pages", "own", "a client's source (1)", "prompts/support.md"}
    assert again["prov:wasInfluencedBy"]["prov:label"] == "openai/gpt-4o-2024-08-06"
    assert "A person decides." in again["usageInfo"]["description"]
    annotations = {each["equivalentProperty"]: each for each in again["recordSet"][0]["annotation"]}
    assert set(annotations) == {"prov:wasDerivedFrom", "prov:wasAttributedTo", "sc:usageInfo"}
    columns = [
        part["source"]["extract"]["column"]
        for part in annotations["prov:wasDerivedFrom"]["subField"]
    ]
    assert columns == ["source", "seed", "licenses"]


def test_the_same_corpus_gives_the_same_bytes(
    full: Building, compose: Compose, tmp_path: Path
) -> None:
    compose()
    export(full, tmp_path / "one")
    export(full, tmp_path / "two")

    one, two = (
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        for name in ("one", "two")
    )

    assert len(one) == 3
    assert one == two


def test_a_changed_file_is_refused(full: Building, compose: Compose, tmp_path: Path) -> None:
    compose()
    described = export(full, tmp_path / "d")
    (data,) = (tmp_path / "d" / "data").iterdir()
    data.write_bytes(data.read_bytes() + b"x")

    with pytest.raises(mlcroissant.GenerationError, match=r"Download\(train\)") as refused:
        [*described.records("samples")]
    assert "not identical" in str(refused.value.__cause__)


def test_metadata_holds_no_text_client_or_path(
    full: Building, compose: Compose, tmp_path: Path
) -> None:
    compose()
    export(full, tmp_path / "d")

    text = (tmp_path / "d" / "croissant.json").read_text()

    assert not [private for private in PRIVATE if private in text]


def test_names_from_data_are_names_to_the_library(building: Building, tmp_path: Path) -> None:
    hostile = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0", HOSTILE)
    building.sample(["a"], contributions=(hostile, PROMPT, MINE), source='"]}, {"@id": "x')
    building.judge([])
    building.corpus.db.execute("INSERT INTO selection SELECT sample_id FROM store.samples")

    export_croissant(building.corpus, tmp_path / "d", name=HOSTILE, table=read_table())
    read = mlcroissant.Dataset(jsonld=tmp_path / "d" / "croissant.json")

    (row,) = read.records("samples")
    assert row["samples/source"] == b'"]}, {"@id": "x'
    document = json.loads((tmp_path / "d" / "croissant.json").read_text())
    assert "<script>alert(1)</script>" in document["name"]
    assert not {"\u202e", "\x1b"} & set(json.dumps(document, ensure_ascii=False))


def test_one_row_is_a_dataset(building: Building, tmp_path: Path) -> None:
    make(building, Contribution("seed", "content", "s", "NOASSERTION", "unknown"), MINE, count=1)
    building.corpus.db.execute("CREATE TEMP TABLE selection AS SELECT sample_id FROM store.samples")

    (row,) = export(building, tmp_path / "d").records("samples")

    assert row["samples/verdict"] == b"deny"
    document = json.loads((tmp_path / "d" / "croissant.json").read_text())
    assert {each["name"] for each in document["license"]} == {"CC0-1.0", "NOASSERTION"}
