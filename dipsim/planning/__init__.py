"""What exactly is to be simulated: from a description to slots, places and bytes; nothing runs here."""
