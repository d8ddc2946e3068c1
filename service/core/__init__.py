"""The estimation core: numbers in, numbers out. No web, no SQL, no clock, no I/O."""
