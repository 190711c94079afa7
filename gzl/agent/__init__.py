"""The process that runs one job.

A job is files: its request, and a journal that only the holder of its lease appends to. An agent takes the lease (a
flock, which the kernel frees when its holder dies), replays the journal, takes over the attempts that an earlier agent
began, and goes on. What it decides it writes down first, and then does:

    journal `started`  →  attempt directory, workload     no directory: the workload never ran
    workload ends      →  rc                              rc and no `ended`: read again, not run again
    journal `ended`    →  dependents may start
    journal `finished` →  ledger, note, refs in one transaction  →  the folder is removed

So a kill between any two of these loses nothing, and no stage that ended runs again.
"""
