"""From a case's files to the arrays that a network sees."""
