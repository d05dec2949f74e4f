"""Runs the test_*.py beside it, and closes as cargo does, so that `cargo xtask test` counts them."""

import pathlib
import sys
import unittest

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.discover(here))
    failed = len(result.failures) + len(result.errors)
    word = "ok" if result.wasSuccessful() else "FAILED"
    print(f"test result: {word}. {result.testsRun - failed} passed; {failed} failed; 0 ignored")
    sys.exit(not result.wasSuccessful())
