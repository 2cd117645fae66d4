"""`python -m vcpipe` is the `vcpipe` command."""

from vcpipe.cli import main

if __name__ == "__main__":
    main()
