"""Why a verdict is what it is: a tree from each contribution to the clause that speaks.

deny: a rule objects
├─ teacher meta-llama/Llama-3.1-70B-Instruct at api.together.xyz (content, recorded): deny
│  └─ terms llama-3.1, in force since 2024-07-23, text of 2024-07-23 (stale: 851 days), read
│     ├─ 1.b.i: ...
│     └─ NAME_PREFIX:Llama, deny: the name of the student, 'acme', has to begin with 'Llama'
└─ a person decides
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from synthkd.records import Contribution
from synthkd.rights.classes import Choice, Tree, classify, read_tree
from synthkd.rights.clauses import Said
from synthkd.rights.entries import Entry, Table
from synthkd.rights.judge import Judge, stated_licenses
from synthkd.rights.policy import Policy
from synthkd.rights.terms import spell_staleness
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Obligation, Reason, Severity

_FACTS = {
    "kind": "kind", "client": "client", "personal_data": "personal data",
    "reserved": "mining reserved", "territory": "territory", "retention_until": "kept until",
    "tier": "tier", "provider": "passed on to",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A line, and the lines that it rests on."""

    text: str
    below: tuple["Node", ...] = ()


def explain(
    contributions: Iterable[Contribution],
    use: Use,
    policy: Policy,
    table: Table,
    *,
    today: date | None = None,
) -> Node:
    """Return what is said of something made from `contributions`, down to each clause."""
    judge = Judge(use, policy, table, today)
    parts = list(dict.fromkeys(contributions))
    judgement = judge.judge(parts)
    waived = {replace(r, waived_by=""): r.waived_by for r in judgement.reasons if r.waived_by}
    heard = judge.hear(parts)
    nodes = [
        _explain_part(judge, part, said, waived) for part, said in zip(parts, heard, strict=True)
    ]
    clashes = [r for r in judgement.reasons if r.rule.startswith("conflict:")]
    if clashes:
        nodes.append(Node("all of it together", tuple(_explain_reason(r, waived) for r in clashes)))
    nodes += [Node(choice) for choice in judgement.choices]
    nodes.append(Node("a person decides"))
    told = f"{judgement.verdict}: {judgement.verdict.told}"
    return Node(f"{told} (policy {policy.name} {policy.sha256[:12]}, {use})", tuple(nodes))


def draw(node: Node) -> list[str]:
    """Return the tree as lines.

    >>> draw(Node("a", (Node("b", (Node("c"),)), Node("d"))))
    ['a', '├─ b', '│  └─ c', '└─ d']
    """
    return [node.text, *_draw_below(node)]


def _draw_below(node: Node) -> Iterator[str]:
    for index, below in enumerate(node.below):
        is_last = index == len(node.below) - 1
        yield f"{'└─' if is_last else '├─'} {below.text}"
        yield from (f"{'  ' if is_last else '│ '} {line}" for line in _draw_below(below))


def _explain_part(judge: Judge, part: Contribution, said: Said, waived: dict[Reason, str]) -> Node:
    reasons = [replace(reason, waived_by=waived.get(reason, "")) for reason in said.reasons]
    owed = Severity.ALLOW_WITH_OBLIGATIONS if said.obligations else Severity.ALLOW
    verdict = max([owed, *(reason.weight for reason in reasons)])
    at = f" at {part.host}" if part.host else ""
    head = f"{part.role} {part.name}{at} ({part.reach}, {part.grade}): {verdict}"
    facts = [
        f"{word}: {getattr(part, name)}" for name, word in _FACTS.items() if getattr(part, name)
    ]
    if part.span:
        facts.append(f"shares a passage of {part.span} characters or more (measured)")
    below = [Node(", ".join(facts))] if facts else []
    entries, is_all = judge.find_read(part)
    below += [_explain_entry(judge, entry, reasons, said.obligations) for entry in entries]
    licenses = stated_licenses(part, entries) if is_all else []
    below += [_explain_license(each) for each in licenses]
    ids = {entry.id for entry in entries}
    below += [_explain_reason(reason, waived) for reason in reasons if reason.rule not in ids]
    owing = sorted(str(each) for each in said.obligations if each.source not in ids)
    below += [Node(f"owed: {', '.join(owing)}")] if owing else []
    return Node(head, tuple(below))


def _explain_entry(
    judge: Judge, entry: Entry, reasons: Sequence[Reason], obligations: Iterable[Obligation]
) -> Node:
    since = f", in force since {entry.effective}" if entry.effective else ""
    age = spell_staleness(entry, judge.day)
    below = [Node(entry.clause or entry.summary)]
    below += [_explain_reason(reason, {}) for reason in reasons if reason.rule == entry.id]
    owed = sorted(str(each) for each in obligations if each.source == entry.id)
    below += [Node(f"owed: {', '.join(owed)}")] if owed else []
    below += [Node(f"to look at: {condition}") for condition in entry.conditions]
    head = f"terms {entry.id} ({entry.license}){since}, {age}, {entry.verification}"
    return Node(head, tuple(below))


def _explain_license(expression: str) -> Node:
    return Node(f"license {expression}: {_spell_classes(read_tree(expression))}")


def _spell_classes(tree: Tree) -> str:
    if isinstance(tree, Choice):
        word = f" {tree.operator.lower()} "
        return word.join(_spell_classes(part) for part in tree.parts)
    return ", ".join(sorted(classify(tree)))


def _explain_reason(reason: Reason, waived: dict[Reason, str]) -> Node:
    by = reason.waived_by or waived.get(reason, "")
    told = f", waived by {by}" if by else ""
    where = "" if reason.rule == reason.code or reason.verification else f" [rule {reason.rule}]"
    clause = f" ({reason.clause})" if reason.clause and not reason.verification else ""
    return Node(f"{reason.code}, {reason.severity}{told}: {reason.because}{clause}{where}")
