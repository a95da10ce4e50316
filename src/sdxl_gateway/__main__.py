"""Lets `python -m sdxl_gateway` stand for the `sdxl-gateway` command."""

from sdxl_gateway.cli import main

if __name__ == "__main__":
    main()
