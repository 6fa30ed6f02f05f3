"""What clients asked for and were told, written down and judged: what the nemesis and ``quorate chaos`` go by."""
