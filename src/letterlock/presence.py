"""Whether a file is there at all. `letterlock-sendmail` uses this too: it imports as little as that."""

import os


def is_there(path: "os.PathLike[str] | str") -> bool:
    """Whether something is at a path, readable or not: reading it says what is wrong, where "absent" would hide it.

    A link that leads nowhere, or a directory that this user may not enter, is a mistake to report. `Path.exists` calls
    the one absent, and raises for the other.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):  # only these say that nothing is there
        return False
    except OSError:  # the attempt to read it says why
        pass
    return True
