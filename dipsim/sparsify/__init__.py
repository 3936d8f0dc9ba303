"""Everything with torch: real models, hooked, masked and recorded. Needs the extra `capture`."""
