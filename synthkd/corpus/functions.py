"""The SQL functions of the view `logprobs`: all that plain DuckDB lacks to read a corpus."""

import duckdb

from synthkd.corpus.logprobs import decode

_POSITIONS = (
    'STRUCT("position" INTEGER, token_id INTEGER, logprob DOUBLE, '
    "top STRUCT(token_id INTEGER, logprob DOUBLE)[])[]"
)


def register(db: duckdb.DuckDBPyConnection) -> None:
    """Make `unpack_logprobs` and `decode_token` known to `db`."""
    blob = duckdb.sqltype("BLOB")
    db.create_function("unpack_logprobs", _unpack_logprobs, [blob], duckdb.sqltype(_POSITIONS))
    db.create_function("decode_token", _decode_token, [blob], duckdb.sqltype("VARCHAR"))


def _unpack_logprobs(blob: bytes) -> list[dict[str, object]]:
    return [
        {
            "position": index,
            "token_id": position.sampled.token_id,
            "logprob": position.sampled.logprob,
            "top": [alternative._asdict() for alternative in position.top],
        }
        for index, position in enumerate(decode(blob))
    ]


def _decode_token(token: bytes) -> str:
    return token.decode("utf-8", "replace")
