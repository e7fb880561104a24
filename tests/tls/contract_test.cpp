// tls_stream keeps the contract of byte_stream on Linux.
#include <gtest/gtest.h>

#include "support/stream_contract.h"
#include "tls/pairs.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_tcp, stream_contract, over_tls<tcp_maker>);
using tls12_maker = over_tls<memory_maker, tls::version::tls1_2>;
INSTANTIATE_TYPED_TEST_SUITE_P(tls12_over_memory, stream_contract, tls12_maker);

}  // namespace rill::test
