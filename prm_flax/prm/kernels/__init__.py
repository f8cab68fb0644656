"""PRM for chips whose time goes into moving memory: x is read once, y written once.

Each kernel equals `recalibrate` to rounding; `prm_flax.prm.fast` chooses among them.
"""
