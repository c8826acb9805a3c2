"""The benchmark: one origin behind hotswap and its peers, loaded in turn in one run.

What is compared is processor time for the same work, so every figure is a ratio inside one run: absolute
figures belong to the machine, ratios carry over to another. Each proxy gets one worker or thread, keeps its
upstream connections alive, adds ``X-Forwarded-For`` and writes an access log; no proxy ends a connection for
having served many requests, none may spool bodies to a disk, and nginx is given buffers as long bodies want
them. Everything else stays at its defaults.

Start at ``cases.py`` (what is measured), then ``run.py`` (in which order), ``bars.py`` (what must hold).
"""
