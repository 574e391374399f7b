"""The first shape of a corpus: ledger, samples, students, and the views over them."""

import duckdb


def m001_ledger(db: duckdb.DuckDBPyConnection) -> None:
    """Requests and attempts: what was asked, and every try at it, raw.

    A completion is a reading of an attempt and can be read again; the blob of its
    log-probabilities is apart, so that reading texts never touches it.
    """
    db.execute(
        """
        CREATE TABLE store.requests (
            request_key TEXT PRIMARY KEY,
            messages JSON NOT NULL,
            endpoint TEXT NOT NULL,
            host TEXT NOT NULL,
            model TEXT NOT NULL,
            parameters JSON NOT NULL,
            sample_index INTEGER NOT NULL
        );
        CREATE TABLE store.attempts (
            attempt_id TEXT PRIMARY KEY,
            request_key TEXT NOT NULL,
            provider TEXT NOT NULL,
            run_id TEXT NOT NULL,
            started_at TIMESTAMP NOT NULL,
            latency_ms DOUBLE NOT NULL,
            batch_size INTEGER NOT NULL,
            status INTEGER,
            error TEXT NOT NULL,
            price STRUCT(prompt DOUBLE, completion DOUBLE),
            response BLOB NOT NULL
        );
        CREATE TABLE store.completions (
            request_key TEXT PRIMARY KEY,
            attempt_id TEXT NOT NULL,
            text TEXT NOT NULL,
            thinking TEXT,
            finish_reason TEXT NOT NULL,
            prompt_tokens BIGINT,
            completion_tokens BIGINT,
            cost_usd DOUBLE
        );
        CREATE TABLE store.vocabularies (
            vocabulary TEXT NOT NULL,
            token_id INTEGER NOT NULL,
            bytes BLOB NOT NULL,
            PRIMARY KEY (vocabulary, token_id)
        );
        CREATE TABLE store.token_logprobs (
            request_key TEXT PRIMARY KEY,
            vocabulary TEXT NOT NULL,
            codec TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            blob BLOB NOT NULL
        );
        """
    )


def m002_samples(db: duckdb.DuckDBPyConnection) -> None:
    """Samples and all they come from; two seeds that ask the same share one paid answer.

    A seed whose row was edited is another version of it: old samples keep theirs.
    """
    db.execute(
        """
        CREATE TABLE store.runs (
            run_id TEXT PRIMARY KEY,
            command TEXT NOT NULL,
            options JSON NOT NULL,
            started_at TIMESTAMP NOT NULL,
            finished_at TIMESTAMP
        );
        CREATE TABLE store.steps (
            step TEXT PRIMARY KEY,
            fingerprint TEXT NOT NULL,
            finished_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.sources (
            source_id TEXT PRIMARY KEY,
            path TEXT NOT NULL,
            license TEXT NOT NULL,
            sha256 TEXT NOT NULL
        );
        CREATE TABLE store.seeds (
            seed_id TEXT NOT NULL,
            source_id TEXT NOT NULL,
            version TEXT NOT NULL,
            fields JSON NOT NULL,
            PRIMARY KEY (source_id, seed_id, version)
        );
        CREATE TABLE store.prompts (
            prompt_version TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            license TEXT NOT NULL,
            text TEXT NOT NULL
        );
        CREATE TABLE store.samples (
            sample_id TEXT PRIMARY KEY,
            source_id TEXT NOT NULL,
            seed_id TEXT NOT NULL,
            seed_version TEXT NOT NULL,
            request_key TEXT NOT NULL,
            prompt_version TEXT NOT NULL,
            teacher TEXT NOT NULL,
            answer TEXT NOT NULL,
            rationale TEXT,
            reference TEXT,
            is_split BOOLEAN NOT NULL,
            run_id TEXT NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.contributions (
            sample_id TEXT NOT NULL,
            role TEXT NOT NULL,
            reach TEXT NOT NULL,
            name TEXT NOT NULL,
            host TEXT NOT NULL,
            license TEXT NOT NULL,
            terms TEXT NOT NULL,
            PRIMARY KEY (sample_id, role, name)
        );
        CREATE TABLE store.verdicts (
            sample_id TEXT NOT NULL,
            filter TEXT NOT NULL,
            step INTEGER NOT NULL,
            keep BOOLEAN NOT NULL,
            reason TEXT NOT NULL,
            score DOUBLE,
            PRIMARY KEY (sample_id, filter)
        );
        """
    )


def m003_students(db: duckdb.DuckDBPyConnection) -> None:
    """Students, the samples each learned, and how they did; reviews are people's verdicts.

    `difference` from and `retained` share of the teacher are paired by row, so they
    cannot be worked out from the values.
    """
    db.execute(
        """
        CREATE TABLE store.students (
            student_id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            run_id TEXT NOT NULL,
            method TEXT NOT NULL,
            base TEXT NOT NULL,
            folder TEXT NOT NULL,
            options JSON NOT NULL,
            parameters BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            seconds DOUBLE NOT NULL,
            coverage DOUBLE,
            weights_sha256 TEXT NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE store.student_samples (
            student_id TEXT NOT NULL,
            sample_id TEXT NOT NULL,
            PRIMARY KEY (student_id, sample_id)
        );
        CREATE TABLE store.learning (
            student_id TEXT NOT NULL,
            step INTEGER NOT NULL,
            measures JSON NOT NULL,
            PRIMARY KEY (student_id, step)
        );
        CREATE TABLE store.evaluations (
            evaluation_id TEXT NOT NULL,
            model TEXT NOT NULL,
            role TEXT NOT NULL,
            metric TEXT NOT NULL,
            place INTEGER,
            value DOUBLE NOT NULL,
            low DOUBLE NOT NULL,
            high DOUBLE NOT NULL,
            n INTEGER NOT NULL,
            invalid INTEGER NOT NULL,
            difference DOUBLE,
            difference_low DOUBLE,
            difference_high DOUBLE,
            retained DOUBLE,
            retained_low DOUBLE,
            retained_high DOUBLE,
            parameters BIGINT,
            tokens_per_second DOUBLE,
            held_out_sha256 TEXT NOT NULL,
            created_at TIMESTAMP NOT NULL,
            PRIMARY KEY (evaluation_id, model, metric)
        );
        CREATE TABLE store.reviews (
            sample_id TEXT NOT NULL,
            reviewer TEXT NOT NULL,
            keep BOOLEAN NOT NULL,
            note TEXT NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
        """
    )


def m004_views(db: duckdb.DuckDBPyConnection) -> None:
    """Make the views that scripts rely on: columns are only ever added, at the end."""
    db.execute(
        """
        CREATE VIEW samples AS
        SELECT s.sample_id, s.source_id, s.seed_id,
            list_last(list_filter(from_json(r.messages, '[{"role":"VARCHAR","content":"VARCHAR"}]'),
                lambda m: m.role = 'user')).content AS prompt,
            r.messages, c.text AS completion, s.rationale, c.finish_reason,
            s.teacher, r.host, c.prompt_tokens, c.completion_tokens, c.cost_usd,
            s.run_id, s.created_at, s.answer, s.reference, s.is_split,
            s.prompt_version, s.request_key
        FROM store.samples s
        JOIN store.requests r USING (request_key)
        JOIN store.completions c USING (request_key);

        CREATE VIEW attempts AS
        SELECT a.attempt_id, a.request_key, a.provider, r.model, r.host, a.run_id, a.started_at,
            a.latency_ms, a.batch_size, a.status, a.error,
            CASE WHEN c.request_key IS NULL THEN NULL ELSE
                {'prompt_tokens': c.prompt_tokens, 'completion_tokens': c.completion_tokens}
            END AS usage,
            c.cost_usd
        FROM store.attempts a
        JOIN store.requests r USING (request_key)
        LEFT JOIN store.completions c USING (request_key, attempt_id);

        CREATE VIEW verdicts AS
        SELECT sample_id, filter, keep, reason, score FROM store.verdicts;

        CREATE VIEW kept AS
        SELECT s.* FROM samples s
        WHERE NOT EXISTS (
            FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep
        );

        CREATE VIEW contributions AS
        SELECT sample_id, role, reach, name, host, license, terms FROM store.contributions;

        -- Until a policy judges them, samples whose every term is known await a person.
        CREATE VIEW rights AS
        SELECT sample_id,
            CASE WHEN bool_or(terms = 'unknown') THEN 'deny' ELSE 'review' END AS verdict,
            CAST([] AS VARCHAR[]) AS obligations,
            CASE WHEN bool_or(terms = 'unknown')
                THEN list('unknown_terms:' || name ORDER BY name) FILTER (terms = 'unknown')
                ELSE ['no_policy_applied'] END AS reasons
        FROM store.contributions GROUP BY sample_id;

        CREATE VIEW students AS
        SELECT student_id, name, run_id, method, base, folder, options, parameters, tokens,
            seconds, coverage, weights_sha256, created_at,
            (SELECT count(*) FROM store.student_samples l
             WHERE l.student_id = t.student_id) AS samples
        FROM store.students t;

        CREATE VIEW evaluations AS
        SELECT evaluation_id, model, role, metric, value, low, high, n, invalid, parameters,
            tokens_per_second, held_out_sha256, created_at, difference, difference_low,
            difference_high, retained, retained_low, retained_high
        FROM store.evaluations;

        CREATE VIEW reviews AS
        SELECT sample_id, reviewer, keep, note, created_at FROM store.reviews;

        CREATE VIEW logprobs AS
        WITH positions AS (
            SELECT s.sample_id, l.vocabulary, unnest(unpack_logprobs(l.blob), recursive := true)
            FROM store.samples s JOIN store.token_logprobs l USING (request_key)
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
