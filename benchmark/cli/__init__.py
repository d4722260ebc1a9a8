"""Command line: parse options, call one function of the API, print."""
