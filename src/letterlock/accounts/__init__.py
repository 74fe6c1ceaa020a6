"""Who may submit mail: a file of users with their passwords' hashes, and limits on guessing."""
