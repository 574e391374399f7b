import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from license_expression import get_spdx_licensing
from pydantic import TypeAdapter, ValidationError

from synthkd.rights.licenses import License, read_license


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        ("mit", "MIT"),
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("apache2", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("cc by 4.0", "CC-BY-4.0"),
        ("CC-BY-4", "CC-BY-4.0"),
        ("cc_by_nc_sa_4.0", "CC-BY-NC-SA-4.0"),
        ("Creative Commons Attribution 4.0 International (CC BY 4.0)", "CC-BY-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", "CC-BY-NC-ND-4.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by/3.0/de/deed.de", "CC-BY-3.0-DE"),
        ("http://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0-1.0"),
        ("CC0", "CC0-1.0"),
        ("Creative Commons Zero v1.0 Universal", "CC0-1.0"),
        ("odc-by", "ODC-By-1.0"),
        ("BSD 3-clause", "BSD-3-Clause"),
        ("GPLv3", "GPL-3.0-only"),
        ("GPL v2 or later", "GPL-2.0-or-later"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("GNU Lesser General Public License v2.1", "LGPL-2.1-only"),
        ("apache-2.0+", "Apache-2.0+"),
        ("llama3.1", "LicenseRef-scancode-llama-3.1-license-2024"),
        ("OpenMDW-1.0", "OpenMDW-1.0"),
        ("licenseref-client-Acme", "LicenseRef-client-Acme"),
        ("LicenseRef-client-and-co", "LicenseRef-client-and-co"),
        ("DocumentRef-deal:LicenseRef-acme", "DocumentRef-deal:LicenseRef-acme"),
        ("mit or Apache 2 and (CC0)", "MIT OR (Apache-2.0 AND CC0-1.0)"),
        ("(mit or apache2) and cc0", "(MIT OR Apache-2.0) AND CC0-1.0"),
        ("GPL-2.0-only with classpath exception 2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("((MIT))", "MIT"),
    ],
)
def test_what_people_write_is_read(text: str, spdx: str) -> None:
    assert read_license(text) == spdx


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "NOASSERTION", "NONE", "unknown", "Other", "proprietary", "n/a"),
        *("LicenseRef-unknown", "LicenseRef-scancode-unknown", "LicenseRef-NOASSERTION"),
        *("MIT OR unknown", "(none)"),
    ],
)
def test_what_says_nothing_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ValueError, match="LicenseRef-client-NAME for private data"):
        read_license(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("CC BY", "did you mean CC-BY-4.0 or", id="no-version"),
        pytest.param("Aapche-2.0", "did you mean Apache-2.0", id="typo"),
        pytest.param("GPL", "there is no SPDX license 'GPL'; did you mean GPL-3.0", id="family"),
        pytest.param("cc", "there is no SPDX license 'cc'", id="bigger-family"),
        pytest.param("foo and bar", "'foo'.*; there is no SPDX license 'bar'", id="two-mistakes"),
        pytest.param("MIT AND", "is no license expression", id="nothing-after-and"),
        pytest.param("(MIT", "is no license expression", id="open-parenthesis"),
        pytest.param("MIT MIT", "there is no SPDX license 'MIT MIT'", id="no-operator"),
        pytest.param("MIT WITH Apache-2.0", "is no license expression", id="no-exception"),
        pytest.param("Classpath-exception-2.0", "is no license expression", id="only-exception"),
        pytest.param("LicenseRef-client_acme", "may only have letters, digits", id="underscore"),
        pytest.param("()", "there is no SPDX license", id="nothing-in-parentheses"),
        pytest.param("MIT OR " * 1000 + "MIT", "characters cannot be read", id="endless"),
    ],
)
def test_what_cannot_be_read_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_license(text)


ids = st.sampled_from(
    sorted(s.key for s in get_spdx_licensing().known_symbols.values() if not s.is_exception)
).filter(lambda spdx_id: "unknown" not in spdx_id)
expressions = st.recursive(
    ids, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "or"]), inner)
)


@given(expressions)
def test_reading_what_was_read_changes_nothing(text: str) -> None:
    once = read_license(text)

    assert read_license(once) == once
    assert read_license(once.lower()) == once


@given(ids)
def test_every_spdx_id_reads_as_itself(spdx_id: str) -> None:
    assert read_license(spdx_id) == spdx_id


@given(st.text() | st.text("()mitandorwthcc0 -.+"))
def test_any_text_is_a_license_or_a_mistake(text: str) -> None:
    try:
        once = read_license(text)
    except ValueError:
        return
    assert read_license(once) == once


def test_a_pydantic_field_holds_a_license() -> None:
    assert TypeAdapter(License).validate_python("cc0") == "CC0-1.0"
    with pytest.raises(ValidationError, match="does not say what is allowed"):
        TypeAdapter(License).validate_python("unknown")


def test_the_list_of_licenses_is_read_only_when_one_is() -> None:
    script = (
        "import sys, synthkd.rights.licenses, synthkd.rights.terms; "
        "print(*{'license_expression', 'ruamel', 'duckdb'} & {m.partition('.')[0] for m in sys.modules})"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == ""
