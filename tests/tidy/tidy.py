#!/usr/bin/env python3
"""House rules that a script can check: tidy.py [ROOT]

Prints `file:line: what is wrong; what to do instead` for each offence and ends with 1 if there are
any. It reads the working tree, not git, so that it also runs in an exported one.
"""

import os
import re
import sys

ROOMS = ("runtime", "net", "protocols")  # the libraries
FOLDERS = ROOMS + ("examples", "tests", "bench")
LINES_MAX = 700
LONG_FILES = ()  # files that may exceed LINES_MAX, each with its reason
README_LINES_MAX = 200  # the root's: it is a map
COLUMNS_MAX = 100

SOURCE = r"\.(h|cpp)$"
IN_ROOMS = rf"^({'|'.join(ROOMS)})/.*{SOURCE}"

# Pattern, files it is refused in, what is wrong and what to do instead.
BANNED = [
    (r"\t", r"\.(h|cpp|py|sh|txt|json)$", "a tab; indent with spaces"),
    (r"[ \t]$", r"\.(h|cpp|py|sh|txt|json|md)$", "space at the end of the line; remove it"),
    (r"\b(TODO|FIXME|XXX|HACK)\b", "",
     "unfinished work; do it, or say in the room's README what is not promised"),
    (r"\bTask \d+\b|\b[Pp]lan \d+[a-z]?\b", "",
     "a word from the making of it; say what the code does"),
    (r"#\s*include <linux/io_uring\.h>", SOURCE,
     "corrupts buffer rings in C++; include <liburing.h>"),
    (r"#\s*include <(format|expected|generator|print)>", SOURCE,
     "libstdc++ 12 lacks it; use fmt in programs, tl::expected, rill's generator"),
    (r'#\s*include "(?!\w)', SOURCE, "a path out of the folder; include <rill/...>"),
    (r'#\s*include "', IN_ROOMS,
     "a quoted include hides who stands on whom; include <rill/...>"),
]
# g++ 12 awaits what stands on the right of these whatever stands on the left. As operators they
# have space on both sides; the && of a reference has not.
CONDITIONAL = re.compile(r"(?<=\s)(?:&&|\|\||\?)(?=\s)")
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'', re.DOTALL)
PUBLIC_CLASS = re.compile(
    r"(?:class|struct)(?: \[\[.*\]\])? (?!std::)[\w:<>]+(?: final)?(?: : .*)? ?\{$")
SYSTEM_HEADER = re.compile(r"#\s*include <((sys|linux|netinet|arpa)/.*|liburing\.h|ares\.h)>")


def tree(root):
    """Paths of the files of the project, relative to root."""
    for folder, folders, files in os.walk(root):
        top = folder == root
        folders[:] = sorted(
            name for name in folders
            if name == ".ci" or not (name.startswith(".") or name == "__pycache__"
                                     or (top and name.startswith("build"))))
        for file in sorted(files):
            if not file.startswith(".") or top:
                yield os.path.relpath(os.path.join(folder, file), root)


def private_headers(root, paths):
    """The headers that the rooms declare private to rill: they alone may show system headers."""
    private = set()
    for path in paths:
        if path.endswith("CMakeLists.txt") and path.startswith(ROOMS):
            text = read(root, path)
            for names in re.findall(r"PRIVATE_HEADERS((?:\s+[\w./]+\.h)+)", text):
                private.update(os.path.join(os.path.dirname(path), name) for name in names.split())
    return private


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def check_text(path, lines):
    for pattern, where, message in BANNED:
        if re.search(where, path):
            for number, line in enumerate(lines, 1):
                if re.search(pattern, line):
                    yield number, message


def check_source(path, lines, private):
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns; at most {COLUMNS_MAX}"
        if path.endswith(".h") and path.startswith(ROOMS) and path not in private:
            if SYSTEM_HEADER.search(line):
                yield number, ("a system header in a public one; move it to a .cpp or to a header "
                               "among the room's PRIVATE_HEADERS")
    if len(lines) > LINES_MAX and path not in LONG_FILES:
        yield 1, f"{len(lines)} lines, at most {LINES_MAX}; split it by responsibility"
    if path.endswith(".h") and path.startswith(ROOMS) and path not in private:
        yield from check_docstrings(lines)
    if path.endswith(".h") and "#pragma once" not in lines:
        yield 1, "no include guard; write #pragma once"


def check_docstrings(lines):
    """Doxygen finds more (tests/doxygen), but later."""
    inside_detail = False
    for number, line in enumerate(lines, 1):
        if re.match(r"namespace (\w+::)*detail \{", line):
            inside_detail = True
        elif re.match(r"\}  // namespace .*detail$", line):
            inside_detail = False
        elif PUBLIC_CLASS.match(line) and not inside_detail:
            before = number - 2
            while re.match(r"template|\s+requires|\s+\S+>$", lines[before]):
                before -= 1
            if not lines[before].startswith("///"):
                yield number, "a public class without a docstring; say in a line what it is"


def check_awaits(text):
    code = NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    for operator in CONDITIONAL.finditer(code):
        depth = 0
        for token in re.finditer(r"[()\[\]{};,]|\bco_await\b", code[operator.end():]):
            if token[0] == "co_await":
                yield (code.count("\n", 0, operator.start()) + 1,
                       "co_await on the right of &&, || or ?:, which g++ 12 awaits in any case; "
                       "await into a variable first, or nest two ifs")
                break
            depth += (token[0] in "([") - (token[0] in ")]")
            if depth < 0 or token[0] in "{};" or (token[0] == "," and depth == 0):
                break


def check_document(root, path, lines):
    prose, fenced = [], False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            prose.append((number, line))

    titles = [number for number, line in prose if line.startswith("# ")]
    if len(titles) != 1:
        yield (titles + [1, 1])[1], f"{len(titles)} first-level headings; a document has one"
    if path == "README.md" and len(lines) > README_LINES_MAX:
        yield README_LINES_MAX + 1, (f"{len(lines)} lines, at most {README_LINES_MAX}; "
                                      "move detail to a room's README")

    here = os.path.join(root, os.path.dirname(path))
    for number, line in prose:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in target and not target.startswith("mailto:"):
                if not os.path.exists(os.path.join(here, target)):
                    yield number, f"a link to {target}, which is not there; mend it"
        for quoted in re.findall(r"`([^`]+)`", line):
            if not quoted_path_exists(root, here, quoted):
                yield number, f"`{quoted}` names a file that is not there; mend it"


def quoted_path_exists(root, here, quoted):
    """False if the text in backticks begins with a path that looks like ours and is not there."""
    include = re.match(r"(?:#include )?<rill/([\w./]+)>$", quoted)
    path = include or re.match(r"(?:\./)?((?:[\w.-]+/)+[\w.-]*\.\w+)(?:[ :#].*)?$", quoted)
    if not path or path[1].startswith("build/"):
        return True
    first = path[1].split("/")[0]
    bases = [base for base in (root, here) if os.path.isdir(os.path.join(base, first))]
    return not bases or any(os.path.exists(os.path.join(base, path[1])) for base in bases)


def check_tree(root):
    """Yields (path, line, message) for every offence."""
    paths = list(tree(root))
    private = private_headers(root, paths)
    for path in paths:
        if path.startswith(("tests/tidy/", "tests/fuzz/corpus/")):
            continue  # names what it forbids; is what a fuzzer has made up
        try:
            lines = read(root, path).splitlines()
        except UnicodeDecodeError:
            continue
        offences = list(check_text(path, lines))
        if path.endswith((".h", ".cpp")):
            offences += check_source(path, lines, private)
            if not path.startswith("tests/idioms/"):  # which show what is right and what is not
                offences += check_awaits("\n".join(lines))
        if path.endswith(".md"):
            offences += check_document(root, path, lines)
        if path.endswith(".sh") and lines and lines[0].startswith("#!"):
            if not os.access(os.path.join(root, path), os.X_OK):
                offences.append((1, "a script without its run bit; chmod +x"))
        yield from ((path, number, message) for number, message in sorted(offences))
    for folder in FOLDERS:
        if os.path.isdir(os.path.join(root, folder)) and f"{folder}/README.md" not in paths:
            yield f"{folder}/README.md", 1, "missing; every room says what it is for"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
    offences = list(check_tree(os.path.abspath(root)))
    for path, number, message in offences:
        print(f"{path}:{number}: {message}")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
