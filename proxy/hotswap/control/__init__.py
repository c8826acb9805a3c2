"""The process as a whole: what it runs, how it is told what to do, and what it reports."""
