"""The web interface: requests in, answers or problems out. All arithmetic is the core's."""
