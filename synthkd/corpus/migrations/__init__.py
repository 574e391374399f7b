"""The shape of a corpus file, as steps from nothing to now.

What synthkd writes lives in the schema `store`; what people and scripts read are
the views in `main`, whose names and columns stay. Times are UTC. Add a step at
the end; never edit one that was released.
"""

from collections.abc import Callable

import duckdb

from synthkd.corpus.migrations.engine import (
    m005_tables_without_indexes,
    m006_borrowed,
    m007_profiles,
    m010_batches,
    m011_random_targets,
)
from synthkd.corpus.migrations.first import m001_ledger, m002_samples, m003_students, m004_views
from synthkd.corpus.migrations.graph import m008_chains
from synthkd.corpus.migrations.rights import m012_rights, m013_evidence
from synthkd.corpus.migrations.scores import m009_scores

Step = Callable[[duckdb.DuckDBPyConnection], None]

MIGRATIONS: tuple[Step, ...] = (
    m001_ledger,
    m002_samples,
    m003_students,
    m004_views,
    m005_tables_without_indexes,
    m006_borrowed,
    m007_profiles,
    m008_chains,
    m009_scores,
    m010_batches,
    m011_random_targets,
    m012_rights,
    m013_evidence,
)
