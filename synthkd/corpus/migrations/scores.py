"""The shape of scores: log-probabilities that an answer got from somebody else, afterwards."""

import duckdb


def m009_scores(db: duckdb.DuckDBPyConnection) -> None:
    """What was scored names its score and, by a profile, its scorer, whose terms bind it too.

    The scorer stands with the answer and not with its samples: those are read anew from
    their sources at every run, and would forget it.
    """
    db.execute(
        """
        CREATE TABLE store.scores (
            request_key TEXT NOT NULL,
            score_key TEXT NOT NULL,
            profile_id TEXT NOT NULL
        );

        CREATE OR REPLACE VIEW contributions AS
        SELECT s.sample_id, p.role, p.reach, p.name, p.host, p.license, p.terms
        FROM store.samples s JOIN store.profiles p USING (profile_id)
        UNION ALL
        SELECT s.sample_id, p.role, p.reach, p.name, p.host, p.license, p.terms
        FROM store.samples s
        JOIN store.scores c ON c.request_key = s.request_key AND s.completion IS NULL
        JOIN store.profiles p ON p.profile_id = c.profile_id;

        CREATE OR REPLACE VIEW rights AS
        WITH made AS (
            SELECT s.sample_id, s.profile_id, c.profile_id AS scorer_id
            FROM store.samples s
            LEFT JOIN store.scores c ON c.request_key = s.request_key AND s.completion IS NULL
        ), judged AS (
            SELECT m.profile_id, m.scorer_id,
                CASE WHEN bool_or(terms = 'unknown') THEN 'deny' ELSE 'review' END AS verdict,
                CAST([] AS VARCHAR[]) AS obligations,
                CASE WHEN bool_or(terms = 'unknown')
                    THEN list_sort(list_distinct(
                        list('unknown_terms:' || name) FILTER (terms = 'unknown')))
                    ELSE ['no_policy_applied'] END AS reasons
            FROM (SELECT DISTINCT profile_id, scorer_id FROM made) m
            JOIN store.profiles p ON p.profile_id IN (m.profile_id, m.scorer_id)
            GROUP BY m.profile_id, m.scorer_id
        )
        SELECT m.sample_id, j.verdict, j.obligations, j.reasons
        FROM made m JOIN judged j
        ON j.profile_id = m.profile_id AND j.scorer_id IS NOT DISTINCT FROM m.scorer_id;
        """
    )
