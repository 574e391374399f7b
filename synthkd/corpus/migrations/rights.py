"""The shape of rights: facts of what went in, verdicts for each use, and evidence of both.

Verdicts are told once per profile and check, never per sample: a hundred thousand samples
share some hundreds of profiles. Old verdicts stay, so that what was known at a time can be
shown afterwards.
"""

import duckdb

_FACTS = ("kind", "client", "personal_data", "reserved", "territory", "retention_until", "tier",
          "provider")  # fmt: skip


def m012_rights(db: duckdb.DuckDBPyConnection) -> None:
    """Contributions carry the facts of their rights; checks keep what a policy said of them."""
    for name in _FACTS:
        db.execute(f"ALTER TABLE store.profiles ADD COLUMN {name} TEXT DEFAULT ''")
    db.execute(
        """
        ALTER TABLE store.profiles ADD COLUMN grade TEXT DEFAULT 'declared';
        ALTER TABLE store.profiles ADD COLUMN span INTEGER DEFAULT 0;
        ALTER TABLE store.sources ADD COLUMN facts JSON DEFAULT '{}';
        ALTER TABLE store.completions ADD COLUMN served_model TEXT DEFAULT '';
        ALTER TABLE store.completions ADD COLUMN served_by TEXT DEFAULT '';

        CREATE TABLE store.checks (
            check_id TEXT NOT NULL,
            group_id TEXT NOT NULL,
            gate TEXT NOT NULL,
            use JSON NOT NULL,
            use_sha256 TEXT NOT NULL,
            policy TEXT NOT NULL,
            policy_sha256 TEXT NOT NULL,
            terms_sha256 TEXT NOT NULL,
            checked_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.check_verdicts (
            check_id TEXT NOT NULL,
            profile_id TEXT NOT NULL,
            scorer_id TEXT,
            samples BIGINT NOT NULL,
            severity INTEGER NOT NULL,
            verdict TEXT NOT NULL,
            obligations VARCHAR[] NOT NULL,
            reasons VARCHAR[] NOT NULL,
            detail JSON NOT NULL
        );
        CREATE TABLE store.overlaps (
            sample_id TEXT NOT NULL,
            role TEXT NOT NULL,
            name TEXT NOT NULL,
            max_span INTEGER NOT NULL,
            containment_ppm INTEGER NOT NULL
        );
        CREATE TABLE store.shown (
            sample_id TEXT NOT NULL,
            source_id TEXT NOT NULL,
            seed_id TEXT NOT NULL,
            from_sample_id TEXT
        );
        CREATE TABLE store.student_contributions (
            student_id TEXT NOT NULL,
            profile_id TEXT NOT NULL
        );
        CREATE TABLE store.subjects (
            source_id TEXT NOT NULL,
            seed_id TEXT NOT NULL,
            subject TEXT NOT NULL
        );

        CREATE OR REPLACE VIEW contributions AS
        WITH parts AS (
            SELECT s.sample_id, s.profile_id FROM store.samples s
            UNION ALL
            SELECT s.sample_id, c.profile_id FROM store.samples s
            JOIN store.scores c ON c.request_key = s.request_key AND s.completion IS NULL
        )
        SELECT t.sample_id, p.role, p.reach, p.name, p.host, p.license, p.terms, p.kind,
            p.client, p.personal_data, p.reserved, p.territory, p.retention_until, p.tier,
            p.provider, p.grade, p.span
        FROM parts t JOIN store.profiles p USING (profile_id);

        -- What no check has judged awaits one; what nobody has read allows nothing till then.
        CREATE OR REPLACE VIEW rights AS
        WITH made AS (
            SELECT s.sample_id, s.profile_id, c.profile_id AS scorer_id
            FROM store.samples s
            LEFT JOIN store.scores c ON c.request_key = s.request_key AND s.completion IS NULL
        ), last_check AS (
            SELECT check_id FROM store.checks
            WHERE group_id = (
                SELECT group_id FROM store.checks ORDER BY checked_at DESC, group_id LIMIT 1
            )
        ), judged AS (
            SELECT v.profile_id, v.scorer_id, max_by(v.verdict, v.severity) AS verdict,
                list_sort(list_distinct(flatten(list(v.obligations)))) AS obligations,
                list_sort(list_distinct(flatten(list(v.reasons)))) AS reasons
            FROM store.check_verdicts v SEMI JOIN last_check USING (check_id)
            GROUP BY v.profile_id, v.scorer_id
        ), unjudged AS (
            SELECT m.profile_id, m.scorer_id,
                CASE WHEN bool_or(p.terms = 'unknown') THEN 'deny' ELSE 'review' END AS verdict,
                CAST([] AS VARCHAR[]) AS obligations,
                CASE WHEN bool_or(p.terms = 'unknown')
                    THEN list_sort(list_distinct(
                        list('unknown_terms:' || p.name) FILTER (p.terms = 'unknown')))
                    ELSE ['no_policy_applied'] END AS reasons
            FROM (
                SELECT DISTINCT profile_id, scorer_id FROM made n
                WHERE NOT EXISTS (
                    FROM judged j WHERE j.profile_id = n.profile_id
                    AND j.scorer_id IS NOT DISTINCT FROM n.scorer_id
                )
            ) m
            JOIN store.profiles p ON p.profile_id IN (m.profile_id, m.scorer_id)
            GROUP BY m.profile_id, m.scorer_id
        ), verdicts AS (FROM judged UNION ALL FROM unjudged)
        SELECT m.sample_id, j.verdict, j.obligations, j.reasons
        FROM made m JOIN verdicts j
        ON j.profile_id = m.profile_id AND j.scorer_id IS NOT DISTINCT FROM m.scorer_id;

        -- Every check, the old ones too, with how many samples each verdict was said of.
        CREATE VIEW rights_checks AS
        SELECT c.checked_at, c.gate, c.use, c.policy, v.verdict, v.obligations, v.reasons,
            v.samples, c.check_id, c.group_id, v.profile_id, c.policy_sha256, c.terms_sha256,
            c.use_sha256
        FROM store.checks c JOIN store.check_verdicts v USING (check_id);
        """
    )


def m013_evidence(db: duckdb.DuckDBPyConnection) -> None:
    """A chain of events, and snapshots whose records are leaves of a Merkle tree.

    What is hashed is text, as it was written: a parsed copy might be written otherwise.
    """
    db.execute(
        """
        CREATE TABLE store.events (
            seq BIGINT NOT NULL,
            event TEXT NOT NULL,
            hash TEXT NOT NULL
        );
        CREATE TABLE store.records (
            record_hash TEXT NOT NULL,
            sample_id TEXT NOT NULL,
            record TEXT NOT NULL,
            salt TEXT NOT NULL
        );
        CREATE TABLE store.snapshots (
            snapshot_id TEXT NOT NULL,
            purpose TEXT NOT NULL,
            samples BIGINT NOT NULL,
            root TEXT NOT NULL,
            previous_root TEXT NOT NULL,
            statement TEXT NOT NULL,
            taken_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.snapshot_leaves (
            snapshot_id TEXT NOT NULL,
            sample_id TEXT NOT NULL,
            record_hash TEXT NOT NULL
        );
        CREATE TABLE store.exports (
            export_id TEXT NOT NULL,
            path TEXT NOT NULL,
            format TEXT NOT NULL,
            recipient TEXT NOT NULL,
            samples BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            snapshot_id TEXT NOT NULL,
            exported_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.student_snapshots (
            student_id TEXT NOT NULL,
            snapshot_id TEXT NOT NULL
        );

        -- What was erased, as keyed digests: enough not to ask for it again, and no text.
        CREATE TABLE store.erased (
            kind TEXT NOT NULL,
            reference TEXT NOT NULL,
            key_id TEXT NOT NULL,
            erasure_id TEXT NOT NULL
        );

        CREATE VIEW events AS
        SELECT seq, event ->> 'at' AS at, event ->> 'type' AS type, event ->> 'actor' AS actor,
            event ->> 'subject' AS subject, event -> 'payload' AS payload,
            event ->> 'previous' AS previous, hash
        FROM (SELECT seq, CAST(event AS JSON) AS event, hash FROM store.events);
        CREATE VIEW snapshots AS
        SELECT snapshot_id, purpose, samples, root, previous_root, taken_at FROM store.snapshots;
        CREATE VIEW exports AS SELECT * FROM store.exports;
        """
    )
