"""What every layer stands on and nothing of gzl's own subject: processes, files, time."""
