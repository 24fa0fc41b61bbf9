"""Where the command line begins: a signal that comes while it loads ends it without a word, since there is nothing yet
to be stopped in good order."""

import signal


def main() -> None:
    """Entry point of the `doorstep` script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from doorstep.cli.app import main as command

    command()


if __name__ == "__main__":
    main()
