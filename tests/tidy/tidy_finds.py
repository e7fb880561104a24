#!/usr/bin/env python3
"""The canary of tidy.py: a tree with one offence of each kind, each of which it must report."""

import os
import sys
import tempfile

sys.dont_write_bytecode = True
import tidy

FILES = {
    "README.md": "# One\n# Two\n`net/gone.h` `<rill/net/gone.h>` [x](net/gone.md) " + "\n" * 200,
    "net/CMakeLists.txt": "rill_room(net PRIVATE_HEADERS wrapper.h)\n",
    "net/wrapper.h": "#pragma once\n#include <sys/socket.h>\n",  # allowed: private
    # In two parts: nothing in this tree names that header to include it, not even its canary.
    "net/open.h": "#include <sys/socket.h>\n#include <linux/" "io_uring.h>\n#include <expected>\n"
                  "\ntemplate <class T>\nclass bare final : public other {\n",
    "net/told.h": "#pragma once\n/// Told.\ntemplate <class T>\nstruct told {\n"
                  "namespace detail {\n\nstruct hidden {\n}  // namespace detail\nclass ahead;\n",
    "net/long.cpp": '\tint a;\n#include "../x.h"\n#include "x.h"\n// TODO Task 6 \n'
                    + "x" * 101 + "\n" * 700,
    "net/awaits.cpp": "while (a && co_await b()) c();\n" "f(a ||\n  g(co_await b()));\n"
                      "x = a ? co_await b() : c;\n",
    "net/right.cpp": 'void f(t&& a);  // a && co_await b()\nwhile (a && b) co_await c();\n'
                     'for (auto&& a : co_await b()) g(a ? b : c, co_await d("a ? co_await"));\n',
    "net/run.sh": "#!/bin/sh\n",
}
EXPECTED = [
    "a tab", "space at the end", "unfinished work", "a word from the making", "corrupts buffer",
    "libstdc++ 12 lacks", "a path out of", "a quoted include", "101 columns", "a system header",
    "704 lines", "no include guard", "2 first-level headings", "202 lines", "a link to net/gone.md",
    "`net/gone.h` names", "`<rill/net/gone.h>` names", "without its run bit",
    "missing; every room",
    "co_await on the right", "a public class without",
]

with tempfile.TemporaryDirectory() as root:
    os.mkdir(os.path.join(root, "net"))
    for path, text in FILES.items():
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(text)
    found = list(tidy.check_tree(root))

missed = [text for text in EXPECTED if not any(text in message for _, _, message in found)]
RIGHT = ("net/wrapper.h", "net/right.cpp", "net/told.h")
wrong = [offence for offence in found if offence[0] in RIGHT]
if sum("co_await on" in message for _, _, message in found) != 3:
    missed.append("one of the three awaits in net/awaits.cpp")
for text in missed:
    print(f"not reported: {text}")
for offence in wrong:
    print(f"wrongly reported: {offence}")
sys.exit(1 if missed or wrong else 0)
