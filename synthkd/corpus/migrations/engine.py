"""The second shape of a corpus: big tables without indexes, batches, follow-ups, scores.

An index over half a million keys is memory that never comes back, and what it guards
is guarded by one writer looking before it writes. Rights are told once per profile:
a hundred thousand samples share a handful of sets of contributions.
"""

import duckdb

_COPIED = {
    "requests": "*, CAST(NULL AS JSON) AS schema, CAST(NULL AS JSON) AS tools",
    "attempts": "* EXCLUDE (price), to_json(price) AS price, 0 AS choice, '' AS shared",
    "completions": (
        "*, CAST(NULL AS BIGINT) AS cached_tokens, CAST(NULL AS BIGINT) AS cache_write_tokens, "
        "CAST(NULL AS BIGINT) AS reasoning_tokens"
    ),
    "token_logprobs": "*",
    "seeds": "*",
    "samples": "*",
    "verdicts": "*",
    "student_samples": "*",
}


def m005_tables_without_indexes(db: duckdb.DuckDBPyConnection) -> None:
    """Rows are looked up by the page, so no big table keeps an index in memory."""
    for table, columns in _COPIED.items():
        db.execute(f"CREATE TABLE store.fresh AS SELECT {columns} FROM store.{table}")
        db.execute(f"DROP TABLE store.{table}")
        db.execute(f"ALTER TABLE store.fresh RENAME TO {table}")


def m006_borrowed(db: duckdb.DuckDBPyConnection) -> None:
    """What came from a shared ledger was paid for by another corpus."""
    db.execute("CREATE TABLE store.borrowed (attempt_id TEXT NOT NULL)")


def m007_profiles(db: duckdb.DuckDBPyConnection) -> None:
    """What samples were made from is written once per set of contributions, not per sample."""
    db.execute(
        """
        CREATE TABLE store.profiles (
            profile_id TEXT NOT NULL,
            role TEXT NOT NULL,
            reach TEXT NOT NULL,
            name TEXT NOT NULL,
            host TEXT NOT NULL,
            license TEXT NOT NULL,
            terms TEXT NOT NULL
        );
        CREATE TEMP TABLE profiled AS
        SELECT sample_id, md5(string_agg(concat_ws(chr(31), role, reach, name, host, license,
            terms), chr(30) ORDER BY role, name)) AS profile_id
        FROM store.contributions GROUP BY sample_id;
        INSERT INTO store.profiles
        SELECT DISTINCT profile_id, role, reach, name, host, license, terms
        FROM store.contributions JOIN profiled USING (sample_id);
        ALTER TABLE store.samples ADD COLUMN profile_id TEXT DEFAULT '';
        UPDATE store.samples SET profile_id = p.profile_id
        FROM profiled p WHERE p.sample_id = store.samples.sample_id;
        DROP TABLE profiled;
        DROP TABLE store.contributions;

        CREATE OR REPLACE VIEW contributions AS
        SELECT s.sample_id, p.role, p.reach, p.name, p.host, p.license, p.terms
        FROM store.samples s JOIN store.profiles p USING (profile_id);

        CREATE OR REPLACE VIEW rights AS
        WITH judged AS (
            SELECT profile_id,
                CASE WHEN bool_or(terms = 'unknown') THEN 'deny' ELSE 'review' END AS verdict,
                CAST([] AS VARCHAR[]) AS obligations,
                CASE WHEN bool_or(terms = 'unknown')
                    THEN list('unknown_terms:' || name ORDER BY name) FILTER (terms = 'unknown')
                    ELSE ['no_policy_applied'] END AS reasons
            FROM store.profiles GROUP BY profile_id
        )
        SELECT s.sample_id, j.verdict, j.obligations, j.reasons
        FROM store.samples s JOIN judged j USING (profile_id);
        """
    )


def m010_batches(db: duckdb.DuckDBPyConnection) -> None:
    """Batches, and which line of each stands for which request.

    A line is known by its `custom_id`, which comes back with its answer; its number is
    what a provider names when it refuses a file.
    """
    db.execute(
        """
        CREATE TABLE store.batches (
            batch_id TEXT PRIMARY KEY,
            provider TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            model TEXT NOT NULL,
            run_id TEXT NOT NULL,
            requests INTEGER NOT NULL,
            size BIGINT NOT NULL,
            worst_usd DOUBLE NOT NULL,
            price JSON,
            intent_at TIMESTAMP NOT NULL,
            status TEXT NOT NULL,
            remote_id TEXT NOT NULL,
            submitted_at TIMESTAMP,
            remote_status TEXT NOT NULL DEFAULT '',
            output_file_id TEXT NOT NULL DEFAULT '',
            error_file_id TEXT NOT NULL DEFAULT '',
            ended_at TIMESTAMP,
            collected_at TIMESTAMP,
            answered INTEGER,
            failed INTEGER,
            note TEXT NOT NULL DEFAULT ''
        );
        CREATE TABLE store.batch_requests (
            batch_id TEXT NOT NULL,
            line INTEGER NOT NULL,
            custom_id TEXT NOT NULL,
            request_key TEXT NOT NULL
        );
        """
    )


def m011_random_targets(db: duckdb.DuckDBPyConnection) -> None:
    """Tokens drawn from a teacher's whole vocabulary stand beside its most probable ones."""
    db.execute(
        """
        CREATE TABLE store.random_targets (
            request_key TEXT NOT NULL,
            vocabulary TEXT NOT NULL,
            codec TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            blob BLOB NOT NULL
        )
        """
    )
