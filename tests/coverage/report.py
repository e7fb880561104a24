#!/usr/bin/env python3
"""Prints how much of each file and room has run, of what llvm-cov-19 exports.

report.py SOURCE_FOLDER PROFILE UNCOVERED LINES_MIN PROGRAM...

Writes the lines that did not run, and those of whose branches one way was never taken, into the
file UNCOVERED. Exit code 1 if less than LINES_MIN per cent of a room's lines ran.

Counted here and not by llvm-cov's own summary: that one takes the best instantiation of a template,
while a line has run if it has in any of them.
"""

import collections
import json
import pathlib
import subprocess
import sys

ROOMS = ("runtime/sim", "runtime", "net", "protocols")  # a file is of the first that it lies in
BOUND = ("runtime", "net", "protocols")  # LINES_MIN holds for these


def export(source, profile, programs, *options):
    objects = [programs[0]] + ["-object=" + program for program in programs[1:]]
    command = ["llvm-cov-19", "export", *objects, "-instr-profile=" + profile, *options]
    command += ["-sources"] + [str(source / room) for room in BOUND]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def line_counts(source, profile, programs):
    """{file: {line: count}}"""
    files = {}
    for line in export(source, profile, programs, "-format=lcov").splitlines():
        kind, _, value = line.partition(":")
        if kind == "SF":
            lines = files.setdefault(str(pathlib.Path(value).relative_to(source)), {})
        elif kind == "DA":
            number, count = value.split(",")[:2]
            lines[int(number)] = int(count)
    return files


def branch_counts(source, profile, programs):
    """{file: {position: [times true, times false]}}, of all instantiations together"""
    files = {}
    exported = json.loads(export(source, profile, programs, "-skip-functions"))
    for file in exported["data"][0]["files"]:
        branches = collections.defaultdict(lambda: [0, 0])
        for branch in file["branches"]:
            sides = branches[tuple(branch[:4])]
            sides[0] += branch[4]
            sides[1] += branch[5]
        files[str(pathlib.Path(file["filename"]).relative_to(source))] = branches
    return files


def ranges(numbers, known):
    """12-15, 20: runs of `numbers` between which no other line of `known` lies"""
    runs = []
    for number in known:
        if number not in numbers:
            runs.append(None)
        elif runs and runs[-1]:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in filter(None, runs))


def percent(hit, all_of_them):
    return 100 * hit / all_of_them if all_of_them else 100.0


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    profile, uncovered, lines_min, programs = (
        sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5:])
    lines_of = line_counts(source, profile, programs)
    branches_of = branch_counts(source, profile, programs)

    def row(name, lines, branches):
        print(f"{name:34}{percent(*lines):7.1f} %{lines[0]:6} of{lines[1]:6}"
              f"{percent(*branches):7.1f} %{branches[0]:6} of{branches[1]:6}")

    print(f"{'':34}{'lines':>9}{'':15}{'branches':>9}")
    totals = {}
    with open(uncovered, "w", encoding="utf-8") as report:
        for room in ROOMS:
            total = [0, 0, 0, 0]
            for file in sorted(lines_of):
                if next(r for r in ROOMS if file.startswith(r + "/")) != room:
                    continue
                lines, branches = lines_of[file], branches_of.get(file, {})
                missed = {number for number, count in lines.items() if count == 0}
                one_way = sorted({position[0] for position, sides in branches.items()
                                  if 0 in sides and lines.get(position[0])})
                taken = sum((side > 0) for sides in branches.values() for side in sides)
                row("  " + file, (len(lines) - len(missed), len(lines)), (taken, 2 * len(branches)))
                for i, value in enumerate(
                        (len(lines) - len(missed), len(lines), taken, 2 * len(branches))):
                    total[i] += value
                if missed:
                    report.write(f"{file}: {ranges(missed, sorted(lines))}\n")
                if one_way:
                    report.write(f"{file}, one way only: {', '.join(map(str, one_way))}\n")
            totals[room] = total
    print()
    for room, total in totals.items():
        row(room, total[:2], total[2:])

    low = [room for room in BOUND if percent(*totals[room][:2]) < lines_min]
    if low:
        print(f"\nbelow {lines_min:g} % of lines: {', '.join(low)}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
