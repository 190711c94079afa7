"""Long-lived services. The repo manager turns a repository's events into jobs, and keeps agents at work on them."""
