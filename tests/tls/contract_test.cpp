// tls_stream keeps the contract of byte_stream over every transport, on Linux and simulated.
#include <gtest/gtest.h>

#include "support/stream_contract.h"
#include "tls/pairs.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_tcp, stream_contract, over_tls<tcp_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_memory, stream_contract, over_tls<memory_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_narrow_memory, stream_contract,
                               over_tls<narrow_memory_maker>);
using tls12_maker = over_tls<memory_maker, tls::version::tls1_2>;
INSTANTIATE_TYPED_TEST_SUITE_P(tls12_over_memory, stream_contract, tls12_maker);
INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_tls, stream_contract, over_tls<over_tls<memory_maker>>);

INSTANTIATE_TYPED_TEST_SUITE_P(simulated_tls_over_tcp, stream_contract,
                               over_tls<simulated<tcp_maker>>);

}  // namespace rill::test
