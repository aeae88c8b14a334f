"""The command line: composes the configuration and calls the function that its mode names."""

from app.cli.shell.start import main

if __name__ == "__main__":
    main()
