"""Bad inputs of the command line, by kind: words, files, damaged run directories."""
