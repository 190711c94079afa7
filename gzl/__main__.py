"""`python -m gzl` is `gzl`."""

from gzl.cli.main import main

if __name__ == "__main__":
    main()
