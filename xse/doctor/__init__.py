"""``xse doctor``: what an executor would find on this host.

``look`` finds it, ``facts`` is what it may be, ``diagnosis`` says what of it is well and what is wrong.
"""
