"""The keys of the test server."""

READ = "a-long-secret-for-reading"
WRITE = "a-long-secret-for-writing"
ADMIN = "a-long-secret-for-everything"


def bearer(secret: str) -> dict[str, str]:
    """The header that sends a key."""
    return {"Authorization": f"Bearer {secret}"}
