"""From a request to what the core calculates with: names looked up, defaults filled in.

Every value that was not in the request is written into a `Ledger` with its origin and source.
"""
