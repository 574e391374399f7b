import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkd.errors import ConfigError
from synthkd.pipeline.sources import read_source, require_columns


def write(tmp_path: Path, name: str, content: bytes | str) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


ROWS = [{"id": "1", "text": "a"}, {"id": "2", "text": "é\u2028b"}]


def test_json_lines_csv_and_parquet_hold_the_same_rows(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), table)

    read = [
        read_source("s", write(tmp_path, "rows.jsonl", "\ufeff" + lines + "\n\n")),
        read_source("s", write(tmp_path, "rows.csv", 'id,text\n1,a\n2,"é\u2028b"\n')),
        read_source("s", table),
    ]

    assert [[seed.row for seed in file.seeds] for file in read] == [ROWS] * 3


def test_a_row_without_an_id_gets_one_that_is_always_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", '{"text": "a", "n": 1}\n{"n": 1, "text": "a"}\n')

    (seed,) = read_source("s", path).seeds

    assert seed.seed_id == next(iter(read_source("s", path).seeds)).seed_id
    assert len(seed.seed_id) == 16


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("a.jsonl", "", "has no rows", id="empty"),
        pytest.param("a.jsonl", '{"a": 1}\nnonsense\n', "line 2: it is not JSON", id="not-json"),
        pytest.param("a.jsonl", "[1]\n", r"line 1: it is '\[1\]', not an object", id="a-list"),
        pytest.param("a.jsonl", '{"a": NaN}\n', "line 1: .*NaN is no JSON number", id="nan"),
        pytest.param("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "line 2: it is not UTF-8", id="latin-1"),
        pytest.param(
            "a.jsonl", '{"id": 1, "a": 1}\n{"id": 1, "a": 2}\n', "line 2: the id '1' stands already", id="id-twice"
        ),
        pytest.param("a.jsonl", '{"a": "' + "x" * 10_000_000 + '"}\n', "line 1: it is over 4.2 MB long", id="10-mb-line"),
        pytest.param("a.jsonl", "[" * 50_000, "line 1: it is not JSON", id="json-bomb"),
        pytest.param("a.jsonl", '{"a": "\\ud83d"}\n', "line 1: it holds half a character", id="half-a-character"),
        pytest.param("a.csv", "a,b\n1,2\n3\n", "line 3: it has not the 2 columns", id="short-row"),
        pytest.param("a.csv", "a,a\n1,2\n", "line 1: a column's name stands twice", id="column-twice"),
        pytest.param("a.csv", 'a\n"x\n', "it is not CSV", id="open-quote"),
        pytest.param("a.parquet", "PAR1nonsense", "it is not Parquet", id="no-parquet"),
        pytest.param("a.xlsx", "x", "it ends in '.xlsx'; use .jsonl", id="other-form"),
    ],
)  # fmt: skip
def test_a_file_with_mistakes_is_refused_with_their_lines(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_source("s", write(tmp_path, name, content))


def test_all_mistakes_are_told_and_the_many_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", "x\n" * 50)

    with pytest.raises(ConfigError, match=r"line 1:(?s:.)*line 20:(?s:.)*and 30 more"):
        read_source("s", path)


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))]
)
def test_a_limit_keeps_rows_from_all_over_the_file(
    tmp_path: Path, limit: int, kept: list[int]
) -> None:
    path = write(tmp_path, "a.jsonl", "".join(f'{{"n": {n}}}\n' for n in range(10)))

    assert [seed.row["n"] for seed in read_source("s", path, limit).seeds] == kept


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_source("s", tmp_path / "none.jsonl")


def test_a_parquet_file_with_nan_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, float("nan")]}), tmp_path / "a.parquet")

    with pytest.raises(ConfigError, match="row 2: it holds NaN"):
        read_source("s", tmp_path / "a.parquet")


@pytest.mark.parametrize("value", ["", "  ", None])
def test_a_row_with_nothing_to_ask_is_refused(tmp_path: Path, value: str | None) -> None:
    rows = [{"id": "1", "text": "a"}, {"id": "2", "text": value}, {"id": "3"}]
    path = write(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    with pytest.raises(
        ConfigError, match="2 rows have no 'text', or an empty one \\(first: '2'\\)"
    ):
        require_columns(read_source("s", path).seeds, ["text"], "a.jsonl")
