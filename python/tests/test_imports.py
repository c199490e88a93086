"""What an import brings with it, and where it is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from conftest import LONG


def program(source: str) -> str:
    """What a program prints that ends well."""
    arguments = [sys.executable, "-c", textwrap.dedent(source)]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=LONG)
    assert ended.returncode == 0, ended
    return ended.stdout


def test_one_import_brings_both_routers() -> None:
    printed = program("""
        import failsoft
        with failsoft.blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
            print(router.get_with_fallback("k", lambda key: key))
    """)
    assert printed == "b'k'\n"


def test_a_first_callback_needs_no_file() -> None:
    printed = program("""
        import os, resource
        from failsoft import blocking
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        with blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
            try:
                while True:
                    os.open("/dev/null", os.O_RDONLY)
            except OSError:
                pass
            print(router.get_with_fallback("k", lambda key: key))
    """)
    assert printed == "b'k'\n"


def test_a_subinterpreter_is_refused_and_the_main_one_goes_on() -> None:
    printed = program('''
        from failsoft import blocking
        try:
            import _interpreters as interpreters
            kind = ["legacy"]
        except ImportError:  # before Python 3.13
            import _xxsubinterpreters as interpreters
            kind = []
        with blocking.Router(["127.0.0.1:1"], deadline=0.05) as router:
            print(router.get_with_fallback("a", str))
            other = interpreters.create(*kind)
            interpreters.run_string(other, """if True:
                try:
                    import failsoft
                except ImportError as error:
                    print(error, flush=True)
            """)
            interpreters.destroy(other)
            print(router.get_with_fallback("b", str))
    ''')
    first, refused, last = printed.splitlines()
    assert (first, last) == ("b'a'", "b'b'")
    # In an interpreter with a lock of its own, which is what 3.12 makes, Python refuses by itself.
    ours = "failsoft works in the main interpreter of a process alone; this is subinterpreter "
    assert ours in refused or refused == "module failsoft._failsoft does not support loading in subinterpreters"
