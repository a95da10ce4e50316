"""Takes adapter files and blends, writes weights in place: exactly, from pristine copies and cached factors."""
