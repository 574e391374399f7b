"""The third shape of a corpus: samples that more than one answer made.

A sample names the request whose answer it holds. Where others came before it (a draft,
a critique, an answer that was cut) or after it (a judge's), they stand in its chain, so
that its cost is that of all of them. What a student learns may differ from what its
teacher was shown and said: examples are the teacher's, and a text may be joined or mended.
"""

import duckdb


def m008_chains(db: duckdb.DuckDBPyConnection) -> None:
    """Samples may have a text and turns of their own; chains and judgements stand beside them."""
    db.execute(
        """
        ALTER TABLE store.samples ADD COLUMN asked_key TEXT;
        ALTER TABLE store.samples ADD COLUMN messages JSON;
        ALTER TABLE store.samples ADD COLUMN completion TEXT;
        ALTER TABLE store.samples ADD COLUMN salvaged TEXT;
        CREATE TABLE store.chains (
            sample_id TEXT NOT NULL,
            step INTEGER NOT NULL,
            kind TEXT NOT NULL,
            request_key TEXT NOT NULL,
            reason TEXT NOT NULL,
            outcome TEXT NOT NULL
        );
        CREATE TABLE store.judgements (
            sample_id TEXT NOT NULL,
            judge TEXT NOT NULL,
            request_key TEXT NOT NULL,
            prompt_version TEXT NOT NULL,
            score DOUBLE,
            reason TEXT NOT NULL,
            rationale TEXT
        );

        CREATE OR REPLACE VIEW chains AS
        SELECT h.sample_id, h.step, h.kind, h.reason, h.outcome, r.model, r.host,
            c.text, c.finish_reason, c.cost_usd, h.request_key
        FROM store.chains h
        JOIN store.requests r USING (request_key)
        LEFT JOIN store.completions c USING (request_key);

        CREATE OR REPLACE VIEW judgements AS
        SELECT sample_id, judge, score, reason, rationale, prompt_version, request_key
        FROM store.judgements;

        CREATE OR REPLACE VIEW samples AS
        WITH costs AS (
            -- A cost that is not known makes the sum unknown, never smaller.
            SELECT h.sample_id,
                CASE WHEN count(*) = count(c.cost_usd) THEN sum(c.cost_usd) END AS cost_usd
            FROM (SELECT DISTINCT sample_id, request_key FROM store.chains) h
            JOIN store.completions c USING (request_key) GROUP BY ALL
        )
        SELECT s.sample_id, s.source_id, s.seed_id,
            list_last(list_filter(
                from_json(coalesce(s.messages, r.messages),
                    '[{"role":"VARCHAR","content":"VARCHAR"}]'),
                lambda m: m.role = 'user')).content AS prompt,
            coalesce(s.messages, r.messages) AS messages,
            coalesce(s.completion, c.text) AS completion, s.rationale, c.finish_reason,
            s.teacher, r.host, c.prompt_tokens, c.completion_tokens,
            CASE WHEN k.sample_id IS NULL THEN c.cost_usd ELSE k.cost_usd END AS cost_usd,
            s.run_id, s.created_at, s.answer, s.reference, s.is_split,
            s.prompt_version, s.request_key, coalesce(s.asked_key, s.request_key) AS asked_key,
            coalesce(s.salvaged, '') AS salvaged, j.score AS judge_score
        FROM store.samples s
        JOIN store.requests r USING (request_key)
        JOIN store.completions c USING (request_key)
        LEFT JOIN costs k USING (sample_id)
        LEFT JOIN store.judgements j USING (sample_id);

        CREATE OR REPLACE VIEW kept AS
        SELECT s.* FROM samples s
        WHERE NOT EXISTS (
            FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep
        );

        -- The log-probabilities of an answer say nothing of a text that was joined or mended.
        CREATE OR REPLACE VIEW logprobs AS
        WITH positions AS (
            SELECT s.sample_id, l.vocabulary, unnest(unpack_logprobs(l.blob), recursive := true)
            FROM store.samples s JOIN store.token_logprobs l USING (request_key)
            WHERE s.completion IS NULL
        )
        SELECT p.sample_id, p.position, decode_token(v.bytes) AS token, p.token_id, p.logprob,
            (SELECT list({'token': decode_token(w.bytes), 'token_id': t.token_id,
                'logprob': t.logprob} ORDER BY t.logprob DESC)
             FROM (SELECT unnest(p.top, recursive := true)) t
             JOIN store.vocabularies w
             ON w.vocabulary = p.vocabulary AND w.token_id = t.token_id) AS top
        FROM positions p
        LEFT JOIN store.vocabularies v
        ON v.vocabulary = p.vocabulary AND v.token_id = p.token_id;
        """
    )
