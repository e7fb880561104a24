#!/usr/bin/env python3
"""Blocks of code in the documents that stand in a file as they are shown: blocks.py ROOT

A block of C++ begins with the file it is taken from: ```cpp examples/echo_client.cpp. Its lines
must stand in that file next to each other, indented as one likes; a line `...` leaves some out. In
the documents of GUIDES every block of C++ must name its file. Prints `file:line: what is wrong` for
each offence and ends with 1 if there are any.
"""

import os
import sys
import textwrap

GUIDES = ("README.md", "examples/README.md", "runtime/README.md", "net/README.md",
          "protocols/README.md")
BUILT = ("runtime/", "net/", "protocols/", "examples/", "tests/")


def blocks(text):
    """(line, words after the fence, lines) of each fenced block."""
    begin = None
    for number, line in enumerate(text.splitlines(), 1):
        if begin is None and line.startswith("```"):
            begin, words, inside = number, line[3:].split(), []
        elif begin is not None and line == "```":
            yield begin, words, inside
            begin = None
        elif begin is not None:
            inside.append(line)


def dedented(lines):
    return textwrap.dedent("\n".join(lines)).split("\n")


def find(part, lines, start):
    """Where `part` ends in `lines`, looked for from `start` on; None: nowhere."""
    part = dedented(part)
    for at in range(start, len(lines) - len(part) + 1):
        if dedented(lines[at:at + len(part)]) == part:
            return at + len(part)
    return None


def check(name, text, read):
    for number, words, shown in blocks(text):
        if not words or words[0] != "cpp":
            continue
        if len(words) == 1:
            if name in GUIDES:
                yield number, "a block of C++ that names no file; write ```cpp PATH"
            continue
        lines = read(words[1])
        if not words[1].startswith(BUILT) or lines is None:
            yield number, f"{words[1]} is no file that is built"
            continue
        at, part = 0, []
        for line in [*shown, "..."]:
            if line.strip() != "...":
                part.append(line)
            elif part:
                at = find(part, lines, at)
                if at is None:
                    yield number, f"not in {words[1]} any more: {part[0].strip()}"
                    break
                part = []


def check_the_check():
    lines = ["int a;", "{", "  int b;", "  int c;", "}", "int d;"]

    def wrong(block, name="README.md"):
        found = check(name, block, lambda path: lines if path == "examples/a.cpp" else None)
        return len(list(found))

    assert wrong("```cpp examples/a.cpp\nint b;\nint c;\n```\n") == 0
    assert wrong("```cpp examples/a.cpp\nint a;\n...\nint c;\n```\n") == 0
    assert wrong("```cpp examples/a.cpp\nint b;\nint d;\n```\n") == 1
    assert wrong("```cpp examples/a.cpp\nint c;\n...\nint a;\n```\n") == 1
    assert wrong("```cpp examples/b.cpp\nint a;\n```\n") == 1
    assert wrong("```cpp\nint a;\n```\n") == 1
    assert wrong("```cpp\nint a;\n```\n", "runtime/sim/README.md") == 0


def main(root):
    check_the_check()

    def read(path):
        try:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                return file.read().splitlines()
        except OSError:
            return None

    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders
                            if each[0] != "." and not (folder == root and each.startswith("build")))
        for file in sorted(files):
            if not file.endswith(".md"):
                continue
            name = os.path.relpath(os.path.join(folder, file), root)
            for number, message in check(name, "\n".join(read(name)), read):
                print(f"{name}:{number}: {message}")
                count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
