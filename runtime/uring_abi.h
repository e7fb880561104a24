// liburing, and the constants of newer kernels that Debian 12's liburing 2.3 does not have.
// The only header that includes it; <linux/io_uring.h> is never included: in C++ its flexible
// array in io_uring_buf_ring has another layout, which corrupts buffer rings.
#pragma once

#include <liburing.h>

namespace rill::abi {

// IORING_FEAT_NO_IOWAIT and IORING_ENTER_NO_IOWAIT, Linux 6.15: a waiting ring is idle, not
// "waiting for a disk", in the accounting of the system.
inline constexpr unsigned feature_no_iowait = 1U << 17;
inline constexpr unsigned enter_no_iowait = 1U << 7;

}  // namespace rill::abi
