"""What is answered of a file: where its path leads, what it is, and which part or encoding of it is asked for."""
