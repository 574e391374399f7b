"""Samples are read a page at a time, in one order, with what is known of how they were drawn."""

import subprocess
import sys
from pathlib import Path

import pytest

from synthkd.corpus import samples
from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import open_corpus
from tests.corpus.builders import add_answer, make_logprobs


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_a_page_more_or_less_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(samples, "_READ_PAGE", page)
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        for n in (2, 0, 1, 3, 4):
            logprobs = make_logprobs() if n % 2 else None
            add_answer(corpus, f"q{n}", f"a{n}", logprobs=logprobs)
        select(corpus, None)

        read = list(read_samples(corpus, with_logprobs=True))

        assert [sample.completion for sample, _ in read] == ["a0", "a1", "a2", "a3", "a4"]
        assert [said is not None for _, said in read] == [False, True, False, True, False]
        left = corpus.first("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'reading%'")
        assert left == (0,)


def test_two_readings_go_on_side_by_side(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        for n in range(4):
            add_answer(corpus, f"q{n}", f"a{n}")
        select(corpus, None)

        both = zip(read_samples(corpus), read_samples(corpus), strict=True)

        assert [(a.completion, b.completion) for (a, _), (b, _) in both] == [
            (f"a{n}", f"a{n}") for n in range(4)
        ]


@pytest.mark.parametrize(
    ("parameters", "is_pure"),
    [
        ({"temperature": 1.0}, True),
        ({"temperature": 1, "max_tokens": 9, "seed": 3, "top_p": 1.0}, True),
        ({}, False),
        ({"temperature": 0.7}, False),
        ({"temperature": 1, "top_p": 0.9}, False),
        ({"temperature": 1, "top_k": 40}, False),
        ({"temperature": 1, "frequency_penalty": 0.5}, False),
        ({"temperature": 1, "something_new": True}, False),
    ],
)
def test_a_pure_sample_is_one_that_nothing_bent(
    tmp_path: Path, parameters: dict[str, object], *, is_pure: bool
) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        add_answer(corpus, "q", "a", parameters=parameters)
        select(corpus, None)

        ((sample, _),) = read_samples(corpus)

    assert sample.is_pure is is_pure


_READ = """
import resource, sys
from pathlib import Path
from synthkd.corpus import samples
from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import open_corpus
samples._READ_PAGE = 200
with open_corpus(Path(sys.argv[1]), create=False) as corpus, corpus.bounded():
    corpus.db.execute("SET memory_limit='48MB'; SET threads=1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    select(corpus, None)
    count = sum(1 for _ in read_samples(corpus, only_kept=True))
    print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_corpus_that_is_larger_than_its_memory_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.duckdb"
    with open_corpus(path) as corpus:
        add_answer(corpus, "q", "a")
        for table, changed in {
            "requests": "md5(n::VARCHAR) AS request_key, n AS sample_index",
            "completions": "md5(n::VARCHAR) AS request_key, repeat(md5((n+9)::VARCHAR), 400) AS text",
            "samples": "md5(n::VARCHAR) AS request_key, md5(n::VARCHAR) AS sample_id",
        }.items():
            corpus.db.execute(
                f"INSERT INTO store.{table} SELECT t.* REPLACE ({changed}) "
                f"FROM (FROM store.{table} LIMIT 1) t, range(8000) r(n)"
            )
        corpus.db.execute("CHECKPOINT")

    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], check=True, capture_output=True, text=True
    )

    count, grown = map(int, done.stdout.split())
    assert count == 8001
    assert grown < 90_000  # KiB, of 100 MB of texts
