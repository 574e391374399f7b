"""Evidence: what can be shown of a corpus afterwards, to people who need not trust it.

    texts ─► keyed commitments ─► record of a sample ─► leaf ─► root of a snapshot ─► statement
                                                                       │
    runs, checks, exports, erasures ─► events, each with the hash of the one before ◄┘

It shows integrity, order, membership and who signed; never that what was declared is true.
"""
