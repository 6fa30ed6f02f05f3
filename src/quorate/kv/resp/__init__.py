"""The Redis protocol: requests in (``reader``, within ``bounds``), replies out (``writer``)."""
