"""Frozen values and the rules they obey: ids, ref names, states, events, the pipeline, the job record."""
