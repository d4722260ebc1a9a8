"""Command line: parse options, call the functions of other rooms (of `api`, for runs and records), print."""
