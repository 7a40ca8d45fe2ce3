"""What a run's answers look like to others' programs: shapes only, over `library`."""
