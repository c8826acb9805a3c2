"""The life of the proxy process: its phases, and what is answered to orders in each."""
