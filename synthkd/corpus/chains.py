"""Chains: every request that a sample took, and what a judge model thought of it.

They are written anew with each reading of the answers, which costs nothing: an edited
judge replaces what the one before it said, and the answers of both stay in the ledger.
"""

from collections.abc import Iterable
from typing import NamedTuple

from synthkd.corpus.store import Corpus


class ChainLink(NamedTuple):
    """One request of a sample's chain: what for, why, and what became of its answer."""

    sample_id: str
    step: int
    kind: str
    request_key: str
    reason: str
    outcome: str


class Judgement(NamedTuple):
    """What a judge said of a sample. `score` is None where that is not to be understood."""

    sample_id: str
    judge: str
    request_key: str
    prompt_version: str
    score: float | None
    reason: str
    rationale: str | None


def replace_chains(
    corpus: Corpus,
    sample_ids: Iterable[str],
    links: Iterable[ChainLink],
    judgements: Iterable[Judgement],
) -> None:
    """Put `links` and `judgements` in place of what `sample_ids` had."""
    ids = list(sample_ids)
    with corpus.transaction():
        for table in ("chains", "judgements"):
            corpus.db.execute(
                f"DELETE FROM store.{table} WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))", [ids]
            )
        corpus.insert("store.chains", [link._asdict() for link in links])
        corpus.insert(
            "store.judgements", [each._asdict() for each in judgements], key=("sample_id",)
        )
