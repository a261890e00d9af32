"""Many runs: from one line to as many directories, and through an executor to their ends."""
