"""The benchmark: one origin behind hotswap and its peers, loaded in turn in one run.

What is compared is processor time for the same work, so every figure is a ratio inside one run: absolute
figures belong to the machine, ratios carry over to another. Each proxy gets one worker or thread, keeps its
upstream connections alive, adds ``X-Forwarded-For`` and writes an access log; buffers and everything else
stay at their defaults, except that no proxy may spool bodies to a disk.

Start at ``cases.py`` (what is measured), then ``run.py`` (in which order), ``bars.py`` (what must hold).
"""
