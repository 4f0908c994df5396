"""
C{python -m tests.fuzz}: have a fuzzer that sees which code its inputs reach (atheris, libFuzzer)
look for bytes that break something. What it finds belongs into C{tests/corpus}.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["xmpproxy"]):
    from tests import fuzzing, tricks, xmlstrategies

#: Where inputs that reach something new are kept between runs, and those that break something.
KEPT = Path(".fuzz")
#: Longer ones find nothing more, and are slower.
_LONGEST = 1500
#: Slower than anybody may make us: seconds for one input, read in some six ways.
_SECONDS = 5

_WORDS = (
    *("<message>", "</message>", "<message to='a@b'>", "<presence/>", "<iq type='get'>", "</iq>"),
    *("<body>", "</body>", "<a>", "</a>", "<a/>", "<p:a/>", "<p:a xmlns:p='urn:p'>", "</p:a>"),
    *(" xmlns='", " xmlns:p='", " xmlns:stream='", " xml:lang='", " p:a='", " to='", "='", "'"),
    *("jabber:client", "jabber:server", "http://etherx.jabber.org/streams", "urn:xmpp:sm:3"),
    *("http://www.w3.org/XML/1998/namespace", "http://www.w3.org/2000/xmlns/"),
    *("<stream:stream>", "</stream:stream>", "<stream:features>", "</stream:features>"),
    *("<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "<!DOCTYPE", "&lt;", "&#60;", "&#x", ";"),
    *("<received xmlns='urn:xmpp:carbons:2'>", "</received>"),
    "<private xmlns='urn:xmpp:carbons:2'/>",
    *("<forwarded xmlns='urn:xmpp:forward:0'>", "</forwarded>", "<message xmlns='jabber:client'>"),
    *("<replace xmlns='urn:xmpp:message-correct:0' id='1'/>", "<x xmlns='jabber:x:oob'><url>"),
    *("<html xmlns='http://jabber.org/protocol/xhtml-im'>", "</html>", "<thread>", "</thread>"),
    *("<body xmlns='http://www.w3.org/1999/xhtml'>", "?OTR", "/me "),
    *("<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:receipts'>", "</fallback>"),
    *("<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='1'/>",),
    " from='juliet@example.com'",
    *("<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='1'/>", "<resume previd='1' h='1'"),
    *("r=NONCE", ",s=", "QSXCR+Q6sek8bf92", ",i=4096", "v=", "SCRAM-SHA-1-PLUS", "<mechanism>"),
    *("\\xc0\\xbc", "\\xed\\xa0\\x80", "\\xf4\\x90\\x80\\x80", "\\xe2\\x82", "\\xef\\xbb\\xbf"),
)  # fmt: skip


def _dictionary() -> str:
    words = (word.replace("\\x", "\0").replace('"', '\\"') for word in _WORDS)
    return "".join('"{}"\n'.format(word.replace("\0", "\\x")) for word in words)


def _seeds(target: str, directory: Path) -> None:
    """What to begin with: the tricks of smugglers, besides the corpus."""
    if target in ("client", "server", "stream"):
        head = xmlstrategies.PLAIN.data if target == "stream" else b""
        for number, trick in enumerate(tricks.TRICKS):
            data = head + trick.to("a@b")
            if len(data) <= _LONGEST:
                (directory / f"trick{number}").write_bytes(data)


def run(target: str, seconds: int) -> None:
    """Fuzz one target. Ends the process."""
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    corpus = fuzzing.CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        words = directory / "words"
        words.write_text(_dictionary())
        seeds = directory / "seeds"
        seeds.mkdir()
        _seeds(target, seeds)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST}",
            f"-timeout={_SECONDS}",
            f"-dict={words}",
            f"-artifact_prefix={KEPT / target}-",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        function = fuzzing.TARGETS[target]
        atheris.Setup([sys.argv[0], *options, str(kept), str(corpus), str(seeds)], function)
        atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    """Fuzz all targets, or one, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=sorted(fuzzing.TARGETS), action="append")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    targets = options.target or sorted(fuzzing.TARGETS)
    if options.in_this_process:
        run(targets[0], options.seconds)
    failed = []
    for target in targets:
        print(f"{target}: {options.seconds} seconds", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--in-this-process", "--target", target]
        if subprocess.run([*command, "--seconds", str(options.seconds)]).returncode:
            failed.append(target)
    for target in failed:
        print(f"{target}: mend it, and move {KEPT / target}-* into {fuzzing.CORPUS / target}/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
