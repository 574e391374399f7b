"""What a teacher ran on with, left out where samples are read.

A prompt's `stop` ends an answer for whoever reads it. A server was perhaps never told of it,
so the corpus holds the answer as it came; a sample ends where its prompt says, and so does
what its teacher said of its tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from synthkd.corpus.positions import Positions
from synthkd.corpus.store import Corpus
from synthkd.outputs import Output
from synthkd.prompts import parse_prompt
from synthkd.records import LENGTH, Sample, TokenLogprobs


def find_stops(corpus: Corpus) -> Mapping[str, Output]:
    """Return the output of each prompt, by its version, that names a `stop`."""
    # Whatever else a prompt of an older synthkd says need not be understood here.
    rows = corpus.db.execute(
        "SELECT prompt_version, name, text FROM store.prompts WHERE contains(text, 'stop')"
    ).fetchall()
    outputs = {version: parse_prompt(text, name).output for version, name, text in rows}
    return {version: output for version, output in outputs.items() if output.stop}


def cut(
    sample: Sample, said: TokenLogprobs | None, output: Output | None
) -> tuple[Sample, TokenLogprobs | None]:
    """Return `sample` up to the first stop of `output`, and what was `said` of what is left.

    What was cut off is not missing: a sample that goes on to its limit has ended before it.
    """
    completion = output.cut(sample.completion) if output else sample.completion
    if output is None or completion == sample.completion:
        return sample, said
    reason = "stop" if sample.finish_reason == LENGTH else sample.finish_reason
    ended = replace(sample, completion=completion, finish_reason=reason)
    return ended, said and cut_logprobs(said, output.stop)


def cut_logprobs(said: TokenLogprobs, stops: Sequence[str]) -> TokenLogprobs | None:
    """Return what was `said` of the tokens before the first of `stops`; None if there are none.

    A token that the stop begins in counts if only white space of it is cut off: around a
    completion that is not compared.
    """
    positions = Positions.of(said.positions)
    sampled = positions.ids[positions.sampled].tolist()
    tokens = [said.tokens.get(index, b"") for index in sampled]
    text = b"".join(tokens)
    found = [text.find(stop.encode("utf-8", "surrogatepass")) for stop in stops]
    end = min((place for place in found if place >= 0), default=0)
    starts = accumulate(map(len, tokens), initial=0)
    kept = sum(
        start < end and start + len(token.rstrip()) <= end
        for start, token in zip(starts, tokens, strict=False)
    )
    if not kept:
        return None
    last = int(positions.counts[:kept].sum())
    return replace(
        said,
        positions=Positions(
            positions.counts[:kept],
            positions.ranks[:kept],
            positions.tails[:kept],
            positions.ids[:last],
            positions.logprobs[:last],
        ),
        draws=said.draws[:kept],
    )
