"""gzl turns a git repository into its own CI/CD system."""

__version__ = "0.1.0"
