"""The table of gzl's commands; a command is added here, and as a module that has a click command named `command`."""

# name → (module, one line of help): a command pays only for its own imports, and `gzl --help` for none of them.
COMMANDS = {
    "init": ("gzl.cli.init", "Set up gzl in this repository: hooks, refs, a starter Gzlfile."),
    "run": ("gzl.cli.run", "Run the pipeline for a commit, or for the working tree as it is."),
    "list": ("gzl.cli.list", "List recent commits and their jobs."),
    "show": ("gzl.cli.show", "Show a job: its stages, steps, attempts."),
    "comment": ("gzl.cli.comment", "Comment on a job."),
    "logs": ("gzl.cli.logs", "Print the logs of a job or of one of its stages."),
    "attach": ("gzl.cli.attach", "Watch a running job; Ctrl-C detaches."),
    "stop": ("gzl.cli.stop", "Stop a running job."),
    "secret": ("gzl.cli.secret", "Keep the secrets that stages may have."),
    "check": ("gzl.cli.check", "Report every mistake of a Gzlfile."),
    "graph": ("gzl.cli.graph", "Show the graph of stages."),
    "sync": ("gzl.cli.sync", "Exchange results with a remote."),
    "fsck": ("gzl.cli.fsck", "Check gzl's refs and notes, and mend what is derived."),
    "gc": ("gzl.cli.gc", "Remove artifacts and logs that retention does not keep."),
    "reindex": ("gzl.cli.reindex", "Rebuild the index from the refs."),
    "manage-repo": ("gzl.cli.manage_repo", "Turn events into jobs, and run them."),
}
ALIASES = {"ls": "list"}
