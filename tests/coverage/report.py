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


def exported_files(source, profile, programs):
    """{file: what llvm-cov tells of it}"""
    command = ["llvm-cov-19", "export", programs[0]]
    command += ["-object=" + program for program in programs[1:]]
    command += ["-instr-profile=" + profile, "-skip-functions"]
    command += ["-sources"] + [str(source / room) for room in BOUND]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {str(pathlib.Path(file["filename"]).relative_to(source)): file
            for file in json.loads(text)["data"][0]["files"]}


def line_counts(text, segments):
    """{line: count}. A line's count is that of its first word, or of a block that begins on it.

    llvm-cov takes the count at the line's very beginning. Where that lies in the gap behind a block
    that may return, it is 0, whatever follows.
    """
    counts = {}
    state = None  # the segment that holds at the point that is looked at
    rest = collections.deque(segments)
    for number, line in enumerate(text.splitlines(), 1):
        first_word = len(line) - len(line.lstrip()) + 1
        found = []
        while rest and (rest[0][0], rest[0][1]) <= (number, first_word):
            state = rest.popleft()
        if state and line.strip():
            found.append(state)
        while rest and rest[0][0] == number:
            state = rest.popleft()
            if state[4]:  # a block begins
                found.append(state)
        known = [count for _, _, count, has_count, _, is_gap in found if has_count and not is_gap]
        if known:
            counts[number] = max(known)
    return counts


def branch_counts(branches):
    """{position: [times true, times false]}, of all instantiations together"""
    sides_of = collections.defaultdict(lambda: [0, 0])
    for branch in branches:
        sides_of[tuple(branch[:4])][0] += branch[4]
        sides_of[tuple(branch[:4])][1] += branch[5]
    return sides_of


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
    files = exported_files(source, profile, programs)

    def row(name, lines, branches):
        print(f"{name:34}{percent(*lines):7.1f} %{lines[0]:6} of{lines[1]:6}"
              f"{percent(*branches):7.1f} %{branches[0]:6} of{branches[1]:6}")

    print(f"{'':34}{'lines':>9}{'':15}{'branches':>9}")
    totals = {}
    with open(uncovered, "w", encoding="utf-8") as report:
        for room in ROOMS:
            total = [0, 0, 0, 0]
            for file in sorted(files):
                if next(r for r in ROOMS if file.startswith(r + "/")) != room:
                    continue
                text = (source / file).read_text(encoding="utf-8")
                lines = line_counts(text, files[file]["segments"])
                branches = branch_counts(files[file]["branches"])
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
