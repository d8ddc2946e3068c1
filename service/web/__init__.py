"""The pages for people: static files that talk to the same API as everybody else."""
