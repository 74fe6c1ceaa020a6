"""`python -m letterlock` is the same as the command `letterlock`."""

from letterlock.cli.main import main

if __name__ == "__main__":
    main()
