// Which errnos an operation or system call may give, as the man pages and the kernel have it: what
// a failure without a name may hit, and what the runner of exhaustive.h goes through.
#pragma once

#include <span>
#include <string_view>

namespace rill::sim::detail {

/// Positive errnos, in a fixed order; empty: it cannot fail.
std::span<const int> possible_errors(std::string_view operation) noexcept;
bool may_give(std::string_view operation, int error_number) noexcept;

}  // namespace rill::sim::detail
