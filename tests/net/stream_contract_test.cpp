// Every kind of stream keeps the contract of byte_stream, on Linux.
#include <gtest/gtest.h>

#include "net/stream_makers.h"
#include "support/stream_contract.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(tcp, stream_contract, tcp_maker);
INSTANTIATE_TYPED_TEST_SUITE_P(unix_socket, stream_contract, unix_maker);
INSTANTIATE_TYPED_TEST_SUITE_P(memory, stream_contract, memory_maker);
INSTANTIATE_TYPED_TEST_SUITE_P(narrow_memory, stream_contract, narrow_memory_maker);

}  // namespace rill::test
