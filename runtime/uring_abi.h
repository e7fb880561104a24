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

// IORING_FEAT_REG_REG_RING, Linux 6.3: the first that the features tell after Linux 6.2, which has
// no feature of its own and brought IORING_SEND_ZC_REPORT_USAGE: the notification's result says
// with IORING_NOTIF_USAGE_ZC_COPIED that the kernel has copied the bytes after all.
inline constexpr unsigned feature_reg_reg_ring = 1U << 13;
inline constexpr std::uint16_t send_zc_report_usage = 1U << 3;
inline constexpr unsigned notification_copied = 1U << 31;

}  // namespace rill::abi
