"""Many runs from one command: which jobs, what each needs, and what they come to."""
