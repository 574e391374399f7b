"""Trees are those of RFC 6962, and prove what is under them and nothing else."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.evidence.merkle import Tree, is_included

# The inputs and roots that implementations of Certificate Transparency are tested with.
LEAVES = [
    bytes.fromhex(each)
    for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                 "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
MANY = st.lists(st.binary(max_size=4), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_rfc_6962(size: int) -> None:
    assert Tree(LEAVES[:size]).root.hex() == ROOTS[size]


def test_a_path_is_that_of_rfc_6962() -> None:
    path = Tree(LEAVES[:7]).prove(6)

    assert [each.hex() for each in path] == [
        hashlib.sha256(b"\1" + Tree(LEAVES[4:5]).root + Tree(LEAVES[5:6]).root).hexdigest(),
        ROOTS[4],
    ]


@given(MANY)
def test_a_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    def define(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return hashlib.sha256(b"\0" + part[0]).digest()
        split = 1 << (len(part) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + define(part[:split]) + define(part[split:])).digest()

    assert Tree(leaves).root == define(leaves)


@given(MANY)
def test_every_leaf_proves(leaves: list[bytes]) -> None:
    tree = Tree(leaves)

    for at, leaf in enumerate(leaves):
        assert is_included(leaf, at, tree.size, tree.prove(at), tree.root)


@given(MANY, st.data())
def test_nothing_else_does(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    path = tree.prove(at)
    other = data.draw(st.binary(max_size=5).filter(lambda leaf: leaf != leaves[at]))
    place = data.draw(st.integers(-1, len(leaves)).filter(lambda place: place != at))

    assert not is_included(other, at, tree.size, path, tree.root)
    assert not is_included(leaves[at], at, tree.size, [*path, bytes(32)], tree.root)
    assert not is_included(leaves[at], at, tree.size, path[:-1], tree.root) or not path
    if 0 <= place < len(leaves) and leaves[place] == leaves[at]:
        return  # it stands there, too, and an even tree may lead up by the same neighbours
    assert not is_included(leaves[at], place, tree.size, path, tree.root)


@given(MANY, st.data())
def test_a_flipped_byte_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    tree = Tree(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    parts = [leaves[at], tree.root, *tree.prove(at)]
    which = data.draw(st.integers(0, len(parts) - 1).filter(lambda number: parts[number]))
    byte = data.draw(st.integers(0, len(parts[which]) - 1))
    flipped = bytearray(parts[which])
    flipped[byte] ^= data.draw(st.integers(1, 255))
    parts[which] = bytes(flipped)
    leaf, root, *path = parts

    assert not is_included(leaf, at, tree.size, path, root)


def test_an_inner_node_is_no_leaf() -> None:
    tree = Tree(LEAVES[:4])
    inner = b"".join(hashlib.sha256(b"\0" + leaf).digest() for leaf in LEAVES[:2])

    assert not is_included(inner, 0, 2, [tree.prove(0)[1]], tree.root)
