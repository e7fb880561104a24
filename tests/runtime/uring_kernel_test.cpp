// io_uring itself: set-up, its refusals, and what becomes of a loop then. What holds of every
// kernel over Linux is in kernel_test.cpp.
#include <sys/syscall.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "runtime/child_process.h"
#include "support.h"
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>

namespace rill {
namespace {

using test::child_process;
using test::say;

class uring_kernel : public testing::Test {
 protected:
  void SetUp() override {
    try {
      make_uring_kernel()->open(queue_sizes{});
    } catch (const kernel_error& error) {
      GTEST_SKIP() << error.what();
    }
  }
};

/// What a machine says on which io_uring_setup fails with `number`.
std::string setup_refusal(int number) {
  child_process child([number] {
    if (!test::refuse_system_call(SYS_io_uring_setup, number)) return 99;
    try {
      const loop on(make_kernel("uring"));
    } catch (const kernel_error& error) {
      say(error.what());
      return error.number() == number ? 0 : 98;
    }
    return 97;
  });
  std::string text = child.rest();
  const int code = child.wait();
  return code == 0 ? text : "exit code " + std::to_string(code);
}

TEST_F(uring_kernel, opens_and_enters) {
  const auto made = make_uring_kernel();
  EXPECT_EQ(made->name(), "uring");
  made->open(queue_sizes{});
  made->start();
  EXPECT_EQ(made->enter(0, 0, kernel::no_deadline), 0);
  EXPECT_GE(made->ring_descriptor(), 0);
}

TEST_F(uring_kernel, each_refusal_of_set_up_names_cause_and_remedy) {
  EXPECT_NE(setup_refusal(EPERM).find("io_uring is blocked (EPERM)"), std::string::npos);
  EXPECT_NE(setup_refusal(EPERM).find("kernel.io_uring_disabled=0"), std::string::npos);
  EXPECT_NE(setup_refusal(EPERM).find("seccomp"), std::string::npos);
  EXPECT_NE(setup_refusal(ENOSYS).find("Linux 6.1 or newer"), std::string::npos);
  EXPECT_NE(setup_refusal(EINVAL).find("too old"), std::string::npos);
  EXPECT_NE(setup_refusal(ENOMEM).find("ulimit -l"), std::string::npos);
  EXPECT_NE(setup_refusal(EMFILE).find("ulimit -n"), std::string::npos);
  for (const int number : {EPERM, ENOSYS, EINVAL, ENOMEM, EMFILE}) {
    EXPECT_EQ(setup_refusal(number).find('\n'), std::string::npos);
  }
}

TEST_F(uring_kernel, sizes_of_the_queues_that_cannot_be_are_refused_as_such) {
  using sizes = queue_sizes;
  for (const sizes wrong : {sizes{0, 8}, sizes{8, 0}, sizes{3, 8}, sizes{4, 12}, sizes{16, 8}}) {
    try {
      make_uring_kernel()->open(wrong);
      ADD_FAILURE() << wrong.submission << ' ' << wrong.completion;
    } catch (const kernel_error& error) {
      EXPECT_EQ(error.number(), EINVAL);
      EXPECT_NE(std::string_view(error.what()).find("powers of two"), std::string_view::npos);
    }
  }
  make_uring_kernel()->open(sizes{1, 1});
  make_uring_kernel()->open(sizes{1U << 20U, 1U << 21U});  // clamped
}

TEST_F(uring_kernel, a_refused_enter_of_the_ring_throws_from_run_and_leaks_nothing) {
  child_process child([] {
    if (!test::refuse_system_call(SYS_io_uring_register, EPERM)) return 99;
    loop on(make_kernel("uring"));
    try {
      on.run([]() -> task<> { co_return; }());
    } catch (const kernel_error& error) {
      return error.number() == EPERM ? 0 : 98;
    }
    return 97;
  });
  child.rest();
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace rill
