"""Takes adapter files and blends, gives weights in place: exact, from pristine copies, from factors kept warm."""
