"""The asyncio runtime: one core driven with one storage, one transport and the machines of its group."""
