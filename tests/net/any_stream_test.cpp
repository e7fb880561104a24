// any_stream keeps the contract of byte_stream, whatever it holds.
#include <rill/net/any_stream.h>

#include <utility>

#include <gtest/gtest.h>

#include "net/stream_makers.h"
#include "support/pair.h"
#include "support/stream_contract.h"

namespace rill::test {

template <class Maker>
struct any_of_kind : Maker {
  using stream = any_stream;

  static task<std::pair<stream, stream>> make() {
    auto made = co_await Maker::make();
    co_return std::pair<stream, stream>(any_stream(std::move(made.first)),
                                        any_stream(std::move(made.second)));
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(any_over_tcp, stream_contract, any_of_kind<tcp_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(any_over_narrow_memory, stream_contract,
                               any_of_kind<narrow_memory_maker>);

TEST(any_stream, tells_the_peer_where_there_is_one) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    const endpoint expected = right.local();
    any_stream erased(std::move(left));
    EXPECT_EQ(erased.peer(), expected);
    erased.set_idle(true);
    erased.set_idle(false);
    co_return;
  });
  run_loop([]() -> task<> {
    auto pair = memory_stream_pair();
    any_stream erased(std::move(pair.first));
    EXPECT_FALSE(erased.peer().is_ip());
    erased.set_idle(true);
    co_return;
  });
}

TEST(any_stream, closes_when_it_is_destroyed_or_given_another) {
  run_loop([]() -> task<> {
    auto first = memory_stream_pair();
    auto second = memory_stream_pair();
    {
      any_stream erased(std::move(first.first));
      erased = any_stream(std::move(second.first));
      EXPECT_TRUE((co_await first.second.read_lease()).empty());
      EXPECT_EQ(second.second.unread_size(), 0U);
    }
    EXPECT_TRUE((co_await second.second.read_lease()).empty());
  });
}

}  // namespace rill::test
