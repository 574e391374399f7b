import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.rights.classes import Choice, classify, read_client, read_tree
from synthkd.rights.territories import is_allowed, read_territory


@pytest.mark.parametrize(
    ("license_id", "classes"),
    [
        ("CC0-1.0", {"public-domain"}),
        ("PDDL-1.0", {"public-domain"}),
        ("CC-PDM-1.0", {"public-domain"}),
        ("DL-DE-ZERO-2.0", {"public-domain"}),
        ("MIT", {"permissive"}),
        ("Zlib", {"permissive"}),
        ("OpenMDW-1.0", {"permissive"}),
        ("CC-BY-4.0", {"attribution"}),
        ("CC-BY-3.0-US", {"attribution"}),
        ("ODC-By-1.0", {"attribution"}),
        ("OGL-UK-3.0", {"attribution"}),
        ("etalab-2.0", {"attribution"}),
        ("DL-DE-BY-2.0", {"attribution"}),
        ("CC-BY-SA-4.0", {"attribution", "share-alike"}),
        ("GFDL-1.3-or-later", {"attribution", "share-alike"}),
        ("CC-BY-NC-4.0", {"attribution", "non-commercial"}),
        ("CC-BY-NC-SA-2.0-DE", {"attribution", "non-commercial", "share-alike"}),
        ("CC-BY-ND-4.0", {"attribution", "no-derivatives"}),
        ("CC-BY-NC-ND-3.0-IGO", {"attribution", "non-commercial", "no-derivatives"}),
        ("LicenseRef-scancode-cc-by-nc-nd-2.0-at", {"attribution", "non-commercial", "no-derivatives"}),
        ("PolyForm-Noncommercial-1.0.0", {"non-commercial"}),
        ("ODbL-1.0", {"database", "attribution"}),
        ("CDLA-Permissive-2.0", {"data-results"}),
        ("C-UDA-1.0", {"data-results"}),
        ("CDLA-Sharing-1.0", {"data-results", "de-minimis"}),
        ("O-UDA-1.0", {"data-results", "de-minimis"}),
        ("GPL-3.0-or-later", {"copyleft"}),
        ("AGPL-3.0-only", {"copyleft"}),
        ("MPL-2.0", {"copyleft"}),
        ("LicenseRef-client-acme", {"contract"}),
        ("LicenseRef-openrail", {"use-restricted"}),
        ("LicenseRef-creativeml-openrail-m", {"use-restricted"}),
        ("LicenseRef-creativeml-openrail-plus-plus-m", {"use-restricted"}),
        ("LicenseRef-scancode-bigscience-rail-1.0", {"use-restricted"}),
        ("LicenseRef-apple-ascl", {"permissive"}),
        ("LicenseRef-apple-amlr", {"research-only", "non-commercial"}),
        ("LicenseRef-deepfloyd-if", {"research-only", "non-commercial"}),
        ("LicenseRef-h-research", {"research-only", "non-commercial"}),
        ("LicenseRef-intel-research", {"research-only", "non-commercial"}),
        ("LicenseRef-fair-noncommercial-research", {"research-only", "non-commercial"}),
        ("NOASSERTION", {"unknown"}),
        ("NONE", {"unknown"}),
        ("", {"unknown"}),
        ("LicenseRef-house", {"unknown"}),
        ("LicenseRef-scancode-proprietary-license", {"unknown"}),
        ("BUSL-1.1", {"unknown"}),
    ],
)  # fmt: skip
def test_a_license_is_of_the_classes_that_its_text_asks_for(
    license_id: str, classes: set[str]
) -> None:
    assert classify(license_id) == classes


def test_a_private_license_names_its_client() -> None:
    assert read_client("LicenseRef-client-Acme.Ltd") == "Acme.Ltd"
    assert not read_client("LicenseRef-house")


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ("MIT", "MIT"),
        ("MIT OR CC0-1.0 AND ISC", Choice("OR", ("MIT", Choice("AND", ("CC0-1.0", "ISC"))))),
        ("(MIT OR CC0-1.0) AND ISC", Choice("AND", (Choice("OR", ("MIT", "CC0-1.0")), "ISC"))),
        ("GPL-2.0-only WITH Classpath-exception-2.0 OR MIT", Choice("OR", ("GPL-2.0-only", "MIT"))),
        ("MIT OR", "MIT OR"),
        ("(MIT", "(MIT"),
        ("MIT ISC", "MIT ISC"),
    ],
)
def test_an_expression_is_a_tree_or_one_license_that_nobody_knows(
    expression: str, tree: object
) -> None:
    assert read_tree(expression) == tree


@given(st.text("()ANDORWITH M-.1", max_size=60))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    assert str(read_tree(text)) or not text


@given(st.recursive(st.sampled_from(["MIT", "ISC", "CC0-1.0"]), lambda inner: st.builds(
    lambda op, parts: Choice(op, tuple(parts)),
    st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)), max_leaves=8))  # fmt: skip
def test_a_tree_reads_back_as_it_was_written(tree: object) -> None:
    assert str(read_tree(str(tree))) == str(tree)


@pytest.mark.parametrize(
    ("text", "code", "is_in"),
    [
        ("EU", "DE", True),
        ("European Union", "FR", True),
        ("EU", "GB", False),
        ("EEA", "NO", True),
        ("uk", "GB", True),
        ("USA", "US", True),
        ("US-CA", "US", True),
        ("EU, US", "US", True),
        ("EU and elsewhere", "DE", False),
        ("", "DE", False),
    ],
)
def test_a_territory_covers_its_countries(text: str, code: str, is_in: bool) -> None:
    assert (code in read_territory(text)) is is_in


@pytest.mark.parametrize(
    ("listed", "here", "answer"),
    [
        ("", None, True),
        ("EU", "DE", True),
        ("EU", "EU", True),
        ("DE", "EU", False),
        ("EU US", "EU, US", True),
        ("EU", "EU, US", False),
        ("-US", "DE", True),
        ("-US", "US", False),
        ("EU -FR", "EU", False),
        ("EU", None, None),
        ("Atlantis", "DE", None),
    ],
)
def test_somebody_has_to_be_allowed_wherever_they_are(
    listed: str, here: str | None, answer: bool | None
) -> None:
    assert is_allowed(listed, here) is answer
