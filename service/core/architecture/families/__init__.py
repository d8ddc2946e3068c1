"""Families of networks: a config.json in, a `Network` out."""
