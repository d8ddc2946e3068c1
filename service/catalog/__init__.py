"""The catalog: facts with provenance, kept in SQL and read from an immutable snapshot."""
