"""What the ids of a tokenizer stand for, in bytes.

Two tokenizers are the same to synthkd when the same ids stand for the same bytes;
the fingerprint says so without either of them being loaded. Bytes, not text: a
token may be half a character.
"""

import json
from functools import cache

from synthkd.records import digest


def read_vocabulary(tokenizer_json: str) -> dict[int, bytes]:
    """Return the bytes of each id of a tokenizer, from the text of its `tokenizer.json`.

    Byte-level (GPT-2's byte-to-character table) and SentencePiece-style (`▁`,
    `<0x0A>`) vocabularies are understood; special tokens stand for their own names.
    """
    tokenizer = json.loads(tokenizer_json)
    vocabulary = tokenizer["model"]["vocab"]
    # A unigram model lists [token, score] in the order of the ids.
    items = (
        vocabulary.items()
        if isinstance(vocabulary, dict)
        else ((entry[0], index) for index, entry in enumerate(vocabulary))
    )
    to_bytes = _from_byte_level if _is_byte_level(tokenizer) else _from_sentencepiece
    named = {token["id"]: token["content"].encode() for token in tokenizer.get("added_tokens", [])}
    return {index: to_bytes(token) for token, index in items} | named


def fingerprint(vocabulary: dict[int, bytes]) -> str:
    """Return the name of a vocabulary: equal fingerprints, equal bytes for every id."""
    return digest(sorted((index, token.hex()) for index, token in vocabulary.items()))[:32]


def _is_byte_level(tokenizer: dict[str, object]) -> bool:
    parts = json.dumps([tokenizer.get("pre_tokenizer"), tokenizer.get("decoder")])
    return '"ByteLevel"' in parts


def _from_byte_level(token: str) -> bytes:
    table = _byte_table()
    if all(character in table for character in token):
        return bytes(table[character] for character in token)
    return token.encode()


def _from_sentencepiece(token: str) -> bytes:
    if len(token) == len("<0x0A>") and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


@cache
def _byte_table() -> dict[str, int]:
    """Return GPT-2's table: printable bytes stand for themselves, the others for 256 and up."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    shifted = {chr(256 + offset): byte for offset, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted
